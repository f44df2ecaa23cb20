import { describe, expect, it, onTestFinished } from 'vitest'
import type { Message, SkeinNode } from '../../src/index.ts'
import { EngineMesh } from '../fixtures/engine-mesh.ts'
import { outgoing } from '../../src/node/outgoing.ts'
import { eventually } from '../processes/skein-process.ts'
import { tcpNode } from '../fixtures/tcp-node.ts'

async function held(node: SkeinNode, filter: string): Promise<string[]> {
  const messages: string[] = []
  for await (const { topic } of node.history(filter)) messages.push(topic)
  return messages
}

async function take(messages: AsyncIterable<Message>, count: number): Promise<Message[]> {
  const taken: Message[] = []
  for await (const message of messages) if (taken.push(message) === count) break
  return taken
}

describe('node: last values', () => {
  it('are kept by others when their publisher is gone, and found by who comes later', async () => {
    const anna = await tcpNode({ name: 'anna' })
    const ben = await tcpNode({
      name: 'ben',
      keep: ['$retained/#'],
      join: [...anna.status().addresses]
    })
    const first = await anna.publish('lamp/1', 'on', { retain: true, key: 'a', priority: 3 })
    expect(first).toMatchObject({ sequence: 1 })
    expect(first.id.endsWith('/lamp')).toBe(true)
    await anna.publish('lamp/2', { on: true }, { retain: true, headers: { room: 'hall' } })
    await anna.publish('lamp/3', 'not kept', { retain: false })
    await anna.publishBatch([
      { topic: 'lamp/1', data: 'off', retain: true, key: 'b' },
      { topic: 'lamp/3', data: 'not kept' },
      { topic: 'lamp/4', data: '', retain: true }
    ])
    await eventually(async () => (await held(ben, '$retained/#')).length === 4)
    await anna.stop()
    const cleo = await tcpNode({ name: 'cleo', join: [...ben.status().addresses] })
    await eventually(() => cleo.peers().some(({ name, connected }) => connected && name === 'ben'))
    const values = cleo.subscribe('$retained/lamp/+', { from: 'last' })
    // A node that is new to them may get older ones first.
    const last = new Map<string, Message>()
    for await (const value of values) {
      last.set(value.topic, value)
      if (value.topic === '$retained/lamp/4') break
    }
    expect([...last.values()].map(({ topic, headers }) => [topic, headers])).toEqual([
      ['$retained/lamp/1', {}],
      ['$retained/lamp/2', { room: 'hall' }],
      ['$retained/lamp/4', {}]
    ])
    expect([...last.values()].map((value) => value.text())).toEqual(['off', '{"on":true}', ''])
    expect([...last.values()].every(({ key }) => key === undefined)).toBe(true)
    // Those that are here when it begins are the last ones at once.
    const again = await take(cleo.subscribe('$retained/#', { from: 'last' }), 3)
    expect(again.map((value) => value.text())).toEqual(['{"on":true}', 'off', ''])
  })

  it('are a copy behind the message: what is wrong with it is told', async () => {
    const anna = await tcpNode({ name: 'anna' })
    await expect(
      anna.publish('a', 'x', { retain: 'yes' as unknown as boolean })
    ).rejects.toMatchObject({ code: 'ERR_OPTIONS', details: { option: 'retain' } })
    await expect(anna.publish('$retained/a', 'x')).rejects.toMatchObject({ code: 'ERR_TOPIC' })
    const again = { id: 'once', retain: true }
    const one = await anna.publish('a', 'x', again)
    expect(await anna.publish('a', 'x', again)).toEqual(one)
    expect(await held(anna, '$retained/#')).toEqual(['$retained/a'])
  })
})

describe('node: expiry', () => {
  it('goes by the age of a message, also at a node that gets it late', async () => {
    const mesh = new EngineMesh()
    onTestFinished(() => mesh.stop())
    const [anna, ben] = await mesh.nodes(2)
    if (anna === undefined || ben === undefined) throw new Error('no nodes')
    await (await ben.collect('a', 's')).subscription.stop()
    await ben.stop()
    const { publisher } = anna.engine
    await publisher.publish(outgoing('a', 'short', { ttlMs: 200 }, 1000), 'stored')
    const end = Date.now() + 200
    await publisher.publish(outgoing('a', 'long', { ttlMs: 600_000 }, 1000), 'stored')
    await eventually(() => Date.now() > end)
    await ben.start()
    const seen = await ben.collect('a', 's')
    expect(await seen.atLeast(1)).toEqual(['long'])
    expect(ben.engine.subscriptions.stats.expired).toBe(1)
    expect(seen.messages[0]?.expiresAt?.getTime()).toBeGreaterThan(Date.now())
  })
})
