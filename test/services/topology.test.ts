import { describe, expect, it, onTestFinished } from 'vitest'
import { LIMITS } from '../../src/core/limits.ts'
import type { FrameStream } from '../../src/mesh/contract.ts'
import { REQUEST_PROTOCOL } from '../../src/services/request-holder.ts'
import { decodeRequestFrames, encodeRequestFrame } from '../../src/wire/request-frames.ts'
import type { EngineMesh, MeshNode } from '../fixtures/engine-mesh.ts'
import { eventually } from '../processes/skein-process.ts'
import { servingMesh } from './serving-mesh.ts'

const connectedTo = (node: MeshNode): string[] =>
  node.engine.transport.peers().flatMap(({ connected, id }) => (connected ? [id] : []))

/** What `node` learns, in order. */
async function seenBy(node: MeshNode): Promise<Record<string, string[]>> {
  const topology = await node.engine.services.topology.ask()
  return Object.fromEntries([...topology].map(([id, peers]) => [id, peers.toSorted()]))
}

/** A neighbour that answers every request with these bytes, or never. */
async function spoken(mesh: EngineMesh, answer: Uint8Array | undefined): Promise<string> {
  const transport = mesh.network.transport({ privateKey: new Uint8Array(32).fill(99) })
  const serve = async (stream: FrameStream): Promise<void> => {
    for await (const bytes of stream.frames) {
      for (const { id } of decodeRequestFrames(bytes)) {
        if (answer === undefined) continue
        const content = { payload: answer, contentType: undefined, headers: undefined }
        await stream.send(encodeRequestFrame({ kind: 'reply', id, content, last: true }))
      }
    }
  }
  transport.handle(REQUEST_PROTOCOL, (stream) => void serve(stream).catch(() => undefined))
  await transport.start()
  onTestFinished(() => transport.stop())
  return transport.self.id
}

describe('topology', () => {
  it('every node tells whom it is connected to', async () => {
    const { nodes } = await servingMesh(3)
    const ids = nodes.map(({ id }) => id)
    const everyone = ids.map((id) => [id, ids.filter((other) => other !== id).toSorted()])
    for (const node of nodes) expect(await seenBy(node)).toEqual(Object.fromEntries(everyone))
    for (const { engine } of nodes) {
      expect(engine.services.host.names()).toEqual([])
      expect(engine.services.host.stats).toEqual({ received: 0, refused: 0 })
      expect(engine.services.requester.stats).toEqual({ sent: 0, failed: 0 })
    }
  })

  it('a neighbour asks for those that this node has no connection to, and no connection is made', async () => {
    const { mesh, nodes } = await servingMesh(4)
    const [a, b, c, d] = nodes as [MeshNode, MeshNode, MeshNode, MeshNode]
    // In a row, with d at the end.
    for (const [one, other] of [
      [a, c],
      [a, d],
      [b, d]
    ] as const) {
      mesh.cut(one, other)
    }
    await eventually(() => connectedTo(a).length === 1 && connectedTo(d).length === 1)
    const seen = await seenBy(a)
    expect(seen[a.id]).toEqual([b.id])
    expect(seen[b.id]).toEqual([a.id, c.id].toSorted())
    expect(seen[c.id]).toEqual([b.id, d.id].toSorted())
    // Three steps away: c tells of it, nobody asks it.
    expect(seen[d.id]).toBeUndefined()
    expect(connectedTo(a)).toEqual([b.id])
  })

  it('who does not answer is left out, in time', async () => {
    const { mesh, nodes } = await servingMesh(2)
    const [a, b] = nodes as [MeshNode, MeshNode]
    const silent = await spoken(mesh, undefined)
    await eventually(() => connectedTo(a).includes(silent) && connectedTo(b).includes(silent))
    const from = performance.now()
    const seen = await seenBy(a)
    expect(performance.now() - from).toBeLessThan(LIMITS.topologyMs + 500)
    expect(Object.keys(seen).toSorted()).toEqual([a.id, b.id].toSorted())
  })

  it.each([
    ['no JSON', '{'],
    ['nothing', 'null'],
    ['no lists', '{"connected":7,"neighbours":[1,"2"]}'],
    ['no PeerIds', '{"connected":[1,null,"x","<b>"],"neighbours":{"x":["y"]}}']
  ])('an answer with %s harms nobody', async (_, text) => {
    const { mesh, nodes } = await servingMesh(2)
    const [a] = nodes as [MeshNode]
    const wrong = await spoken(mesh, Buffer.from(text))
    await eventually(() => connectedTo(a).includes(wrong))
    const seen = await seenBy(a)
    expect(seen[wrong] ?? []).toEqual([])
    expect(seen[a.id]).toEqual(connectedTo(a).toSorted())
  })

  it('an answer with too much is cut', async () => {
    const { mesh, nodes } = await servingMesh(2)
    const [a] = nodes as [MeshNode]
    const many = Array.from({ length: 2000 }, () => a.id)
    const wrong = await spoken(mesh, Buffer.from(JSON.stringify({ connected: many })))
    await eventually(() => connectedTo(a).includes(wrong))
    expect((await seenBy(a))[wrong]).toHaveLength(LIMITS.topologyPeers)
  })

  it('its name, and all that begin like it, are not for applications', async () => {
    const { requests } = await servingMesh(2)
    const [a] = requests
    const taken = { code: 'ERR_OPTIONS', details: { option: 'service' } }
    expect(() => a?.reply('$topology', () => 'mine', {})).toThrow(expect.objectContaining(taken))
    expect(() => a?.reply('$other', () => 'mine', {})).toThrow(expect.objectContaining(taken))
    const asked = a?.request('$topology', null, {})
    await expect(asked).rejects.toMatchObject({ code: 'ERR_NO_RESPONDERS' })
  })
})
