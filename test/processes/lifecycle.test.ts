import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { type IncomingMessage, createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { LIMITS } from '../../src/core/limits.ts'
import { refusal } from './refusal.ts'
import {
  NodeProcess,
  finished,
  full,
  randomMesh,
  run,
  skein,
  temporaryFolder
} from './skein-process.ts'

async function node(): Promise<NodeProcess> {
  const folder = await temporaryFolder(onTestFinished)
  const args = ['--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0', '--mesh', randomMesh()]
  const process = new NodeProcess(folder, args)
  onTestFinished(async () => {
    await process.kill()
  })
  return process
}

describe('lifecycle: start', () => {
  it('that is killed at any point leaves a data dir that the next start takes', async () => {
    const process = await node()
    // From before the first file is written to after the node is ready, on a new data dir and on an old one.
    for (const delayMs of Array.from(
      { length: full ? 100 : 6 },
      (_, n) => 250 + ((n * 137) % 900)
    )) {
      const start = process.start().catch(() => undefined)
      await new Promise((resolve) => setTimeout(resolve, delayMs))
      await process.kill()
      await start
    }
    const { peerId } = await process.start()
    expect((await run(['pub', 'a', 'x', '--data-dir', process.dataDir])).code).toBe(0)
    await process.kill()
    expect((await process.start()).peerId).toBe(peerId)
    const args = ['sub', 'a', '--from', 'earliest', '--raw', '--count', '1']
    expect((await run([...args, '--data-dir', process.dataDir])).stdout).toBe('x\n')
  }, 120_000)
})

describe('lifecycle: SIGTERM', () => {
  it('drains and ends with 0 within 10 s, with publishers and subscribers at work', async () => {
    const process = await node()
    await process.start()
    const at = ['--data-dir', process.dataDir]
    const sub = skein(['sub', 'a', '--raw', '--verbose', ...at])
    onTestFinished(() => void sub.kill('SIGKILL'))
    await once(sub.stderr ?? sub, 'data')
    let ending = false
    let confirmed = 0
    const publisher = async (): Promise<void> => {
      while (!ending) {
        try {
          const response = await process.fetch('/v1/publish/a', { method: 'POST', body: 'x' })
          if (response.status !== 202) return
          confirmed++
        } catch {
          return
        }
      }
    }
    const publishers = Array.from({ length: 8 }, publisher)
    while (confirmed < 100) await new Promise((resolve) => setTimeout(resolve, 5))
    const startedAt = performance.now()
    const [code] = (await process.kill('SIGTERM')) as [number]
    ending = true
    expect(code).toBe(0)
    expect(performance.now() - startedAt).toBeLessThan(LIMITS.stopTimeoutMs)
    await Promise.all(publishers)
    await process.start()
    const topics = await process.call<{ messages: number }[]>('GET', '/v1/topics')
    expect(topics[0]?.messages).toBeGreaterThanOrEqual(confirmed)
  }, 30_000)
})

describe('lifecycle: SIGTERM, with a request under way', () => {
  it('turns readiness off first, finishes the request and ends with 0', async () => {
    const process = await node()
    const { api } = await process.start()
    const upload = request(`${api}/v1/publish/a`, {
      method: 'POST',
      headers: { authorization: `Bearer ${process.token}` }
    })
    const answered = once(upload, 'response') as Promise<[IncomingMessage]>
    upload.write('first half, ')
    await process.call('GET', '/v1/status')
    const ended = process.kill('SIGTERM')
    const readiness = async (): Promise<number> => (await fetch(`${api}/readyz`)).status
    while ((await readiness()) === 200);
    expect(await readiness()).toBe(503)
    upload.end('second half')
    const [answer] = await answered
    expect(answer.statusCode).toBe(202)
    answer.resume()
    expect(await ended).toEqual([0, null])
  }, 30_000)
})

describe('lifecycle: a stale api.json', () => {
  it('of a process that is gone is no node, and the next start replaces it', async () => {
    const process = await node()
    await process.start()
    await process.kill()
    const { dataDir } = process
    const before = await readFile(join(dataDir, 'api.json'), 'utf8')
    for (const args of [['status'], ['pub', 'a', 'x'], ['sub', 'a']]) {
      const result = await run([...args, '--data-dir', dataDir])
      expect(result).toEqual(refusal(3, 'ERR_NO_NODE', dataDir))
    }
    await process.start()
    expect(await readFile(join(dataDir, 'api.json'), 'utf8')).not.toBe(before)
    expect((await run(['status', '--ready', '--data-dir', dataDir])).code).toBe(0)
  }, 30_000)

  it('whose pid and port now belong to others ends with a clear error', async () => {
    const folder = await temporaryFolder(onTestFinished)
    await mkdir(folder, { recursive: true })
    const other = spawn('sleep', ['60'])
    onTestFinished(() => void other.kill())
    const server = createServer((_, response) => response.end('hello')).listen(0, '127.0.0.1')
    onTestFinished(() => void server.close())
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const write = (url: string): Promise<void> =>
      writeFile(join(folder, 'api.json'), JSON.stringify({ url, token: 't', pid: other.pid }))
    await write('http://127.0.0.1:1')
    const at = ['--data-dir', folder]
    expect(await run(['status', ...at])).toEqual(refusal(3, 'ERR_NO_NODE'))
    await write(`http://127.0.0.1:${port}`)
    const result = await finished(skein(['status', ...at], { stdin: 'ignore' }))
    expect(result.code).not.toBe(0)
    expect(result.stderr).toMatch(/^skein: [^\n]+ \(ERR_[A-Z_]+\)\n$/)
  }, 30_000)
})
