import { createHash } from 'node:crypto'
import {
  cp,
  open,
  readFile,
  readdir,
  rename,
  rm,
  stat,
  truncate,
  writeFile
} from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { seededRandom } from '../../src/core/random.ts'
import { refusal } from './refusal.ts'
import { NodeProcess, full, randomMesh, run, temporaryFolder } from './skein-process.ts'

const ARGS = ['--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0', '--mesh', randomMesh()]
const COUNT = 200
const payloadOf = (index: number): string => `${index} `.padEnd(8192, String(index))

function nodeOn(dataDir: string): NodeProcess {
  const node = new NodeProcess(dataDir, ARGS)
  onTestFinished(async () => {
    await node.kill()
  })
  return node
}

/** A data directory with messages in it, each in a record of its own, cleanly stopped. */
async function filled(): Promise<string> {
  const dataDir = join(await temporaryFolder(onTestFinished), 'data')
  const node = nodeOn(dataDir)
  await node.start()
  for (let index = 0; index < COUNT; index++) {
    const response = await node.fetch('/v1/publish/a', { method: 'POST', body: payloadOf(index) })
    expect(response.status).toBe(202)
  }
  await node.kill('SIGTERM')
  return dataDir
}

/** Every message that can still be read, checked against what was published. */
async function readable(node: NodeProcess): Promise<number[]> {
  const args = ['sub', 'a', '--from', 'earliest', '--raw', '--timeout', '2s']
  const { stdout } = await run([...args, '--data-dir', node.dataDir])
  const lines = stdout === '' ? [] : stdout.trimEnd().split('\n')
  return lines.map((line) => {
    const index = Number(line.split(' ')[0])
    expect(line).toBe(payloadOf(index))
    return index
  })
}

/** What the files that hold records contain. */
async function tables(dataDir: string): Promise<Record<string, string>> {
  const store = join(dataDir, 'store')
  const names = (await readdir(store)).filter((name) => /\.(?:log|ldb)$/.test(name))
  const digest = async (name: string): Promise<[string, string]> => {
    const hash = createHash('sha256').update(await readFile(join(store, name)))
    return [name, hash.digest('hex')]
  }
  return Object.fromEntries(await Promise.all(names.map(digest)))
}

describe('damaged store: blocks', () => {
  it('are detected and reported; the rest is read, and the node goes on', async () => {
    const dataDir = await filled()
    const random = seededRandom(full ? Date.now() : 1)
    const store = join(dataDir, 'store')
    const sizes = await Promise.all(
      (await readdir(store))
        .filter((name) => /\.(?:log|ldb)$/.test(name))
        .map(async (name) => ({ name, size: (await stat(join(store, name))).size }))
    )
    const { name, size } = sizes.toSorted((a, b) => b.size - a.size)[0] ?? { name: '', size: 0 }
    expect(size).toBeGreaterThan(COUNT * 8192)
    const file = await open(join(store, name), 'r+')
    for (const at of [0.2, 0.5, 0.8]) {
      await file.write(random.bytes(100), 0, 100, Math.floor(size * at))
    }
    await file.close()

    const node = nodeOn(dataDir)
    await node.start()
    const found = await readable(node)
    expect(found).toEqual(found.toSorted((a, b) => a - b))
    expect(found.length).toBeLessThan(COUNT)
    expect(found.length).toBeGreaterThan(COUNT / 2)
    expect(node.log.join('')).toContain('damaged')
    const topics = await node.call<
      { logs: { missing: { from: number; to: number }[]; head: number }[] }[]
    >('GET', '/v1/topics')
    const missing = topics[0]?.logs[0]?.missing.flatMap(({ from, to }) =>
      Array.from({ length: to - from + 1 }, (_, index) => from + index - 1)
    )
    const lost = Array.from({ length: COUNT }, (_, index) => index).filter(
      (index) => !found.includes(index)
    )
    expect(missing).toEqual(lost)
    expect((await run(['pub', 'a', 'after', '--data-dir', dataDir])).code).toBe(0)
    await node.kill('SIGTERM')
    expect((await node.start()).dataDir).toBe(dataDir)
  }, 60_000)
})

describe('damaged store: root files', () => {
  it('that are missing or garbage are refused with one line, and nothing is begun anew or deleted', async () => {
    const dataDir = await filled()
    const copy = `${dataDir}.copy`
    await cp(dataDir, copy, { recursive: true })
    const at = (...names: string[]): string => join(dataDir, ...names)
    const manifest =
      (await readdir(at('store'))).find((name) => name.startsWith('MANIFEST')) ?? 'none'
    const damages: Record<string, () => Promise<void>> = {
      'CURRENT is missing': () => rm(at('store', 'CURRENT')),
      'CURRENT is empty': () => writeFile(at('store', 'CURRENT'), ''),
      'CURRENT is garbage': () => writeFile(at('store', 'CURRENT'), 'garbage\n'),
      'MANIFEST is missing': () => rm(at('store', manifest)),
      'MANIFEST is empty': () => truncate(at('store', manifest), 0),
      'MANIFEST is garbage': () => writeFile(at('store', manifest), Buffer.alloc(4096, 0xa5)),
      'the store is gone': () => rm(at('store'), { recursive: true }),
      'store.json is garbage': () => writeFile(at('store.json'), '{')
    }
    for (const [what, damage] of Object.entries(damages)) {
      await rm(dataDir, { recursive: true })
      await cp(copy, dataDir, { recursive: true })
      await damage()
      const result = await run(['start', '--http', 'off', ...ARGS, '--data-dir', dataDir])
      expect([what, result]).toEqual([what, refusal(1, 'ERR_STORE_CORRUPT', dataDir)])
      // Where its root is damaged, the database has not touched the rest.
      if (!/^(?:CURRENT|MANIFEST)/.test(what)) continue
      expect([what, await tables(dataDir)]).toEqual([what, await tables(copy)])
    }
    await rm(dataDir, { recursive: true })
    await rename(copy, dataDir)
    const node = nodeOn(dataDir)
    await node.start()
    expect((await readable(node)).length).toBe(COUNT)
  }, 60_000)
})
