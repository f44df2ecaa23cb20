import { readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { freePort } from './proxied-mesh.ts'
import { NodeProcess, eventually, randomMesh, run, temporaryFolder } from './skein-process.ts'

/** Long and odd enough not to be in any file by chance, and incompressible enough to stay as it is. */
const SECRET = `the safe opens with ${Array.from({ length: 8 }, (_, i) => i * 7919 + 104_729).join('-')}`
/** As long and odd, and for everyone: shows that what is kept in the clear would be found. */
const OPEN = `all may know of ${Array.from({ length: 8 }, (_, i) => i * 6841 + 224_737).join('-')}`

interface Peer {
  readonly name?: string
  readonly state: string
  readonly custodian: boolean
  readonly connected: boolean
}

/** A node of one mesh that dials those before it, and keeps its port over restarts. */
async function node(
  mesh: string,
  name: string,
  others: readonly NodeProcess[]
): Promise<NodeProcess> {
  const folder = await temporaryFolder(onTestFinished)
  const process = new NodeProcess(folder, [
    '--mesh',
    mesh,
    '--name',
    name,
    '--keep',
    'open/#',
    '--no-mdns',
    '--listen',
    `/ip4/127.0.0.1/tcp/${await freePort()}`,
    ...others.flatMap((other) => ['--join', other.ready.listen[0] ?? ''])
  ])
  onTestFinished(async () => {
    await process.kill()
  })
  await process.start()
  return process
}

/** Resolves once the node says of its peers what `holds` asks. */
async function peersOf(node: NodeProcess, holds: (peers: Peer[]) => boolean): Promise<void> {
  await eventually(async () => holds(await node.call<Peer[]>('GET', '/v1/peers')) || undefined, {
    what: 'the peers as they should be',
    timeoutMs: 30_000
  })
}

const isOff = (name: string) => (peers: Peer[]) =>
  peers.some((peer) => peer.name === name && !peer.connected && peer.state === 'down')

/** Messages to the node itself that come within a moment, or `count` of them. */
async function received(node: NodeProcess, count: number, timeout: string): Promise<string[]> {
  const args = ['sub', '@me/#', '--durable', 'mail', '--from', 'earliest', '--raw']
  const limits = ['--count', String(count), '--timeout', timeout]
  const { stdout } = await run([...args, ...limits, '--data-dir', node.dataDir])
  return stdout.split('\n').filter((line) => line !== '')
}

async function outbox(node: NodeProcess): Promise<unknown[]> {
  const { entries } = await node.call<{ entries: unknown[] }>('GET', '/v1/outbox')
  return entries
}

const emptied = (node: NodeProcess): Promise<true> =>
  eventually(async () => (await outbox(node)).length === 0 || undefined, {
    what: 'the receipt back, and the outbox empty',
    timeoutMs: 30_000
  })

/** Names of the files below a folder that hold the text. */
async function filesWith(folder: string, text: string): Promise<string[]> {
  const names = await readdir(folder, { recursive: true, withFileTypes: true })
  const found: string[] = []
  for (const entry of names) {
    if (!entry.isFile()) continue
    const path = join(entry.parentPath, entry.name)
    if ((await readFile(path)).includes(text)) found.push(path)
  }
  return found
}

describe('inbox: a message to a peer that is off', () => {
  it('is delivered once, over two restarts of its sender, and the receipt empties the outbox', async () => {
    const mesh = randomMesh()
    const ben = await node(mesh, 'ben', [])
    const anna = await node(mesh, 'anna', [ben])
    await peersOf(anna, (peers) => peers.some(({ name }) => name === 'ben'))
    await peersOf(ben, (peers) => peers.some(({ name }) => name === 'anna'))
    await ben.kill('SIGTERM')
    await peersOf(anna, isOff('ben'))

    const sent = await run(['send', 'ben', 'notes', SECRET, '--data-dir', anna.dataDir])
    expect(sent).toMatchObject({ code: 0, stderr: '' })
    for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
      await anna.kill(signal)
      await anna.start()
      expect(await outbox(anna)).toHaveLength(1)
    }
    await ben.start()
    expect(await received(ben, 1, '30s')).toEqual([SECRET])
    await emptied(anna)

    await ben.kill('SIGKILL')
    await ben.start()
    await peersOf(ben, (peers) => peers.some(({ connected }) => connected))
    expect(await received(ben, 1, '1500ms'), 'not once more after a restart').toEqual([])
  }, 60_000)

  it('is delivered by custodians though its sender never returns, and they cannot read it', async () => {
    const mesh = randomMesh()
    const cleo = await node(mesh, 'cleo', [])
    const dora = await node(mesh, 'dora', [cleo])
    const ben = await node(mesh, 'ben', [cleo, dora])
    const anna = await node(mesh, 'anna', [cleo, dora, ben])
    const knowsAll = (peers: Peer[]): boolean =>
      peers.filter(({ custodian, name }) => custodian && name !== undefined).length === 3
    await Promise.all([anna, ben, cleo, dora].map((one) => peersOf(one, knowsAll)))
    await ben.kill('SIGTERM')
    await peersOf(anna, isOff('ben'))

    const all = ['--confirm', 'replicas=2', '--data-dir', anna.dataDir]
    expect(await run(['pub', 'open/notes', OPEN, ...all])).toMatchObject({ code: 0 })
    const args = ['send', 'ben', 'notes', SECRET, '--custodians', '2']
    const sent = await run([...args, '--data-dir', anna.dataDir])
    expect(sent).toMatchObject({ code: 0, stderr: '' })
    await anna.kill('SIGKILL')

    // What they keep is looked at while nobody runs, and on disk whole: they were ended in order.
    for (const keeper of [cleo, dora]) {
      await keeper.kill('SIGTERM')
      expect(await filesWith(keeper.dataDir, OPEN.slice(0, 32))).not.toEqual([])
      expect(await filesWith(keeper.dataDir, SECRET.slice(0, 32))).toEqual([])
      expect(await filesWith(keeper.dataDir, SECRET.slice(-32))).toEqual([])
    }
    await Promise.all([cleo, dora].map((keeper) => keeper.start()))
    await ben.start()
    expect(await received(ben, 1, '30s')).toEqual([SECRET])
    expect(await received(ben, 1, '1500ms'), 'once, though two kept it').toEqual([])
  }, 60_000)
})
