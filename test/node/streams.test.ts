import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { SkeinError } from '../../src/index.ts'
import type { SkeinNode } from '../../src/index.ts'
import { eventually } from '../processes/skein-process.ts'
import { tcpNode } from '../fixtures/tcp-node.ts'

/** Connected, and known to each other by name. */
async function pair(): Promise<[SkeinNode, SkeinNode]> {
  const a = await tcpNode({ name: 'a' })
  const b = await tcpNode({ name: 'b', join: [...a.status().addresses] })
  const knows = (one: SkeinNode, name: string): boolean =>
    one.peers().some((peer) => peer.connected && peer.name === name)
  await eventually(() => knows(a, 'b') && knows(b, 'a'))
  return [a, b]
}

describe('node: byte streams', () => {
  it('carry a file to a peer by its name, through the streams of the platform', async () => {
    const [a, b] = await pair()
    b.handleStream('files', async ({ metadata, readable, writable }) => {
      const hash = createHash(String(metadata['algorithm']))
      for await (const chunk of readable) hash.update(chunk)
      await writable.getWriter().write(hash.digest())
    })
    const chunks = Array.from({ length: 64 }, (_, at) => new Uint8Array(65_537).fill(at))
    const { closed, peer, readable, writable } = await a.openStream('files', {
      peer: 'b',
      metadata: { algorithm: 'sha256' }
    })
    expect(peer).toBe(b.peerId)
    await Readable.toWeb(Readable.from(chunks)).pipeTo(writable)
    const answer = Buffer.concat(await Readable.fromWeb(readable).toArray())
    expect(answer).toEqual(createHash('sha256').update(Buffer.concat(chunks)).digest())
    await closed
  })

  it('find a peer that handles the name, and say what is wrong', async () => {
    const [a, b] = await pair()
    b.handleStream('refuses', () => Promise.reject(new SkeinError('ERR_TOKEN', 'not for you')))
    const stream = await a.openStream('refuses')
    await expect(stream.closed).rejects.toMatchObject({
      code: 'ERR_TOKEN',
      message: 'not for you',
      details: { peer: b.peerId }
    })
    const wrong: Array<[object, string]> = [
      [{ peer: 'nobody' }, 'ERR_PEER_UNKNOWN'],
      [{ peer: a.peerId }, 'ERR_PEER_UNREACHABLE'],
      [{ peers: 'b' }, 'ERR_OPTIONS'],
      [{ metadata: [1] }, 'ERR_OPTIONS']
    ]
    for (const [options, code] of wrong) {
      await expect(a.openStream('refuses', options)).rejects.toMatchObject({ code })
    }
    await expect(a.openStream('nothing')).rejects.toMatchObject({ code: 'ERR_NO_HANDLER' })
    await b.stop()
    await expect(b.openStream('refuses')).rejects.toMatchObject({ code: 'ERR_STOPPED' })
  })
})
