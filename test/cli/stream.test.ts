import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { MIB } from '../../src/core/limits.ts'
import { eventually } from '../processes/skein-process.ts'
import { type Served, served } from '../sidecar/served-node.ts'
import { launch, run, tempFolder } from './command.ts'

// Each test runs several processes.
vi.setConfig({ testTimeout: 120_000 })

/** Two nodes that are connected, with their HTTP interfaces. */
async function pair(): Promise<[Served, Served]> {
  const one = await served()
  const two = await served({ name: 'two', join: [...one.node.status().addresses] })
  const meets = ({ node }: Served, other: Served): boolean =>
    node.peers().some(({ connected, peerId, name }) => {
      return connected && peerId === other.node.peerId && (other !== two || name === 'two')
    })
  await eventually(() => meets(one, two) && meets(two, one))
  return [one, two]
}

/** Bytes in which no piece is like another. */
function bytesOf(length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length)
  for (let at = 0; at + 4 <= length; at += 4)
    bytes.writeUInt32LE(Math.imul(at, 2654435761) >>> 0, at)
  return bytes.fill(7, length - (length % 4))
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

describe('cli stream', () => {
  it('stream: a file of 64 MiB goes from node to node, and is checked at its end', async () => {
    const [one, two] = await pair()
    const folder = await tempFolder()
    const [from, to] = [join(folder, 'from.bin'), join(folder, 'to.bin')]
    const bytes = bytesOf(64 * MIB + 3)
    await writeFile(from, bytes)
    const digest = sha256(bytes)
    const receiver = launch(['stream', 'receive', 'files', to, '--json', ...two.at])
    const args = ['stream', 'send', 'files', from, '--json', '--peer', 'two', '--wait', '60s']
    const sent = await run([...args, ...one.at])
    expect(sent.stderr).toBe('')
    expect(JSON.parse(sent.text)).toMatchObject({ bytes: bytes.length, digest })
    const received = await receiver.result
    expect(JSON.parse(received.text)).toMatchObject({ bytes: bytes.length, digest })
    expect([sent.code, received.code]).toEqual([0, 0])
    expect(sha256(await readFile(to))).toBe(digest)
    expect(existsSync(`${to}.part`)).toBe(false)
  })

  it('stream: a pipe goes into a pipe; nobody who takes it, and a broken one, are clear errors', async () => {
    const [one, two] = await pair()
    const alone = await run(['stream', 'send', 'pipe', '-', ...one.at], { input: 'x' })
    expect(alone).toMatchObject({ code: 1, text: '' })
    expect(alone.stderr).toContain('ERR_NO_HANDLER')
    const receiver = launch(['stream', 'receive', 'pipe', ...two.at])
    const sent = await run(['stream', 'send', 'pipe', '--wait', '60s', ...one.at], {
      input: 'hällo'
    })
    expect(sent.code).toBe(0)
    expect(sent.stderr).toMatch(/sent 6 B, .* SHA-256 [0-9a-f]{64}\n$/)
    expect(await receiver.result).toMatchObject({ code: 0, text: 'hällo' })
    const file = join(await tempFolder(), 'half')
    const cut = launch(['stream', 'receive', 'cut', file, ...two.at])
    const sender = launch(['stream', 'send', 'cut', '--wait', '60s', ...one.at])
    sender.child.stdin?.write(Buffer.alloc(4 * MIB))
    await eventually(() => existsSync(`${file}.part`), { timeoutMs: 60_000 })
    sender.child.kill('SIGKILL')
    const broken = await cut.result
    expect(broken).toMatchObject({ code: 1 })
    expect(broken.stderr).toContain('ERR_STREAM')
    expect([existsSync(file), existsSync(`${file}.part`)]).toEqual([false, false])
  })
})

describe('sidecar streams', () => {
  it('streams: an exchange opens one at a library node, with metadata, and each direction ends by itself', async () => {
    const [one, two] = await pair()
    const seen: unknown[] = []
    two.node.handleStream('upper', async ({ metadata, peer, readable, writable }) => {
      seen.push(metadata, peer)
      const writer = writable.getWriter()
      for await (const chunk of readable) {
        await writer.write(Buffer.from(Buffer.from(chunk).toString().toUpperCase()))
      }
    })
    const answer = await one.call('/v1/streams/upper?peer=two', {
      method: 'POST',
      body: 'abc',
      headers: { 'skein-metadata': '{"a":"b"}' }
    })
    expect(await answer.text()).toBe('"ABC"')
    expect(answer.headers.get('skein-peer')).toBe(two.node.peerId)
    expect(seen).toEqual([{ a: 'b' }, one.node.peerId])
    const nobody = await one.call('/v1/streams/nothing', { method: 'POST' })
    expect([nobody.status, await nobody.json()]).toMatchObject([404, { code: 'ERR_NO_HANDLER' }])
    const bad = { method: 'POST', headers: { 'skein-metadata': '[1]' } }
    expect(await (await one.call('/v1/streams/upper', bad)).json()).toMatchObject({
      code: 'ERR_OPTIONS',
      details: { option: 'Skein-Metadata' }
    })
    // Somebody else handles the name here.
    const taken = await two.call('/v1/streams/upper', { method: 'PUT' })
    expect(await taken.json()).toMatchObject({ code: 'ERR_OPTIONS' })
  })

  it('streams: the answer to who opens one ends last, so that nobody stops to send because of it', async () => {
    const [one, two] = await pair()
    let got = 0
    two.node.handleStream('sink', async ({ readable, writable }) => {
      const writer = writable.getWriter()
      await writer.write(Buffer.from('x'))
      await writer.close()
      for await (const chunk of readable) got += chunk.length
    })
    const outgoing = one.request('POST', '/v1/streams/sink')
    outgoing.flushHeaders()
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage]
    let ended = false
    response.on('end', () => (ended = true))
    await once(response, 'data')
    const piece = Buffer.alloc(MIB)
    for (let at = 0; at < 8; at++) {
      if (!outgoing.write(piece)) await once(outgoing, 'drain')
    }
    await eventually(() => got > 4 * MIB)
    expect(ended).toBe(false)
    outgoing.end('y')
    await once(response, 'end')
    expect(got).toBe(8 * MIB + 1)
  })

  it('streams: who waits takes one stream each, and nobody is left when they are gone', async () => {
    const [one, two] = await pair()
    const first = two.call('/v1/streams/s', { method: 'PUT' })
    const second = two.request('PUT', '/v1/streams/s').end()
    second.on('error', () => undefined)
    const open = (): Promise<Awaited<ReturnType<typeof one.node.openStream>>> =>
      one.node.openStream('s', { peer: 'two', metadata: { n: 1 } })
    const stream = await eventually(() => open().catch(() => undefined))
    const writer = stream.writable.getWriter()
    await writer.write(Buffer.from('hi'))
    await writer.close()
    const answer = await first
    expect(await answer.text()).toBe('hi')
    expect(answer.headers.get('skein-metadata')).toBe('{"n":1}')
    await stream.closed
    second.destroy()
    await eventually(async () => {
      const failure: unknown = await open().then(
        (opened) => opened.abort(),
        (error: unknown) => error
      )
      return (failure as { code?: string } | undefined)?.code === 'ERR_NO_HANDLER'
    })
  })

  it('streams: what breaks at the other side breaks the answer', async () => {
    const [one, two] = await pair()
    two.node.handleStream('breaks', async ({ writable }) => {
      await writable.getWriter().write(Buffer.from('half'))
      throw new Error('no more')
    })
    const answer = await one.call('/v1/streams/breaks', { method: 'POST' })
    await expect(answer.text()).rejects.toThrow('terminated')
  })
})
