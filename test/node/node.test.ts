import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { silentLogger } from '../../src/core/logger.ts'
import { createNode } from '../../src/index.ts'
import type { Message, SkeinNode } from '../../src/index.ts'
import { tcpNode } from '../fixtures/tcp-node.ts'

async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'skein-node-'))
  onTestFinished(() => rm(path, { recursive: true, force: true }))
  return path
}

async function pair(): Promise<[SkeinNode, SkeinNode]> {
  const a = await tcpNode({ name: 'a' })
  const b = await tcpNode({ name: 'b', join: [...a.status().addresses] })
  await Promise.all([up(a), up(b)])
  return [a, b]
}

function up(node: SkeinNode): Promise<void> {
  if (node.peers().some((peer) => peer.connected)) return Promise.resolve()
  return new Promise((resolve) => {
    const off = node.on('peer:up', () => {
      off()
      resolve()
    })
  })
}

/** Publishes until the first message is through: from then on the other node is known as a member. */
async function meet(from: SkeinNode, to: SkeinNode, channel: string): Promise<void> {
  const probe = to.subscribe(`${channel}/probe`)
  await probe.ready
  for (let arrived = false; !arrived;) {
    await from.publish(`${channel}/probe`, 'probe')
    arrived = (await probe.pull(1, 50)).length > 0
  }
  await probe.stop()
}

async function take(messages: AsyncIterable<Message>, count: number): Promise<Message[]> {
  const taken: Message[] = []
  for await (const message of messages) {
    taken.push(message)
    if (taken.length === count) break
  }
  return taken
}

describe('node: two of them', () => {
  it('exchange bytes, text and JSON with everything a message carries', async () => {
    const [a, b] = await pair()
    await meet(a, b, 'orders')
    const subscription = b.subscribe('orders/+')
    await subscription.ready
    const published = await a.publish(
      'orders/created',
      { id: 7 },
      { key: 'k', headers: { 'x-trace': '1', __proto__: 'x' }, ttlMs: 60_000, priority: 3 }
    )
    await a.publish('orders/text', 'grüß dich')
    await a.publish('orders/bytes', Uint8Array.of(0, 255, 10), { contentType: 'image/x' })
    const [json, text, bytes] = await take(subscription, 3)
    expect(json).toMatchObject({
      id: published.id,
      topic: 'orders/created',
      key: 'k',
      priority: 3,
      attempt: 1,
      late: false,
      publisher: a.peerId,
      sequence: published.sequence,
      contentType: 'application/json'
    })
    expect(json?.headers['x-trace']).toBe('1')
    expect(json?.json()).toEqual({ id: 7 })
    expect(json?.expiresAt?.getTime()).toBe((json?.time.getTime() ?? 0) + 60_000)
    expect(text?.text()).toBe('grüß dich')
    expect(() => text?.json()).toThrow(expect.objectContaining({ code: 'ERR_PAYLOAD' }))
    expect([...(bytes?.payload ?? [])]).toEqual([0, 255, 10])
  })

  it('keep the order of one publisher over thousands of messages, at both ends', async () => {
    const [a, b] = await pair()
    await meet(a, b, 'load')
    const count = 20_000
    const subscriptions = [a.subscribe('load/x'), b.subscribe('load/x')]
    await Promise.all(subscriptions.map((subscription) => subscription.ready))
    const receiving = subscriptions.map((subscription) => take(subscription, count))
    const published = await Promise.all(
      Array.from({ length: count }, (_, i) => a.publish('load/x', `${i}`))
    )
    expect(new Set(published.map(({ id }) => id)).size).toBe(count)
    for (const messages of await Promise.all(receiving)) {
      expect(messages.map((message) => Number(message.text()))).toEqual(
        Array.from({ length: count }, (_, i) => i)
      )
    }
  })

  it('find channels that come up later, by a filter that begins with a wildcard', async () => {
    const [a, b] = await pair()
    const every = b.subscribe('#')
    const durable = b.subscribe('+/x', { durable: 'later', ack: 'auto' })
    await Promise.all([every.ready, durable.ready])
    const arrived = new Set<string>()
    for (let i = 0; i < 40 && arrived.size < 2; i++) {
      await a.publish('later/x', 'x')
      for (const [name, subscription] of Object.entries({ every, durable })) {
        for (const message of await subscription.pull(1, 50)) {
          expect(message.topic).toBe('later/x')
          arrived.add(name)
        }
      }
    }
    expect(arrived.size).toBe(2)
  })

  it('find the channels of a log that its node had before it started', async () => {
    const dataDir = await folder()
    const former = await tcpNode({ dataDir })
    await former.publish('kept/x', 'x')
    await former.stop()
    const a = await tcpNode({ dataDir })
    const b = await tcpNode({ join: [...a.status().addresses] })
    const every = b.subscribe('#')
    await every.ready
    await vi.waitFor(() => expect(a.peers()[0]?.channels).toContain('kept'), 4000)
    await a.publish('kept/x', 'now')
    expect((await take(every, 1))[0]?.text()).toBe('now')
  })

  it('see each other come and go', async () => {
    const [a, b] = await pair()
    const gone = new Promise<string>((resolve) => {
      a.on('peer:down', (peer) => resolve(peer.peerId))
    })
    expect(a.peers()).toMatchObject([{ peerId: b.peerId, state: 'up', connected: true }])
    await b.stop()
    expect(await gone).toBe(b.peerId)
    // It said goodbye; that its connection is closed comes a moment later.
    await vi.waitFor(() => expect(a.status().peers.connected).toBe(0), 10_000)
    expect(a.status().ready).toBe(true)
  })
})

describe('node: alone', () => {
  it('takes a batch whole or not at all', async () => {
    const one = await tcpNode()
    const subscription = one.subscribe('#')
    await subscription.ready
    await expect(
      one.publishBatch([
        { topic: 'a/1', data: 'x' },
        { topic: 'b/1', data: 'y' }
      ])
    ).rejects.toMatchObject({ code: 'ERR_OPTIONS' })
    await expect(
      one.publishBatch([
        { topic: 'a/1', data: 'x' },
        { topic: 'a/2', data: new Uint8Array(200_000) }
      ])
    ).rejects.toMatchObject({ code: 'ERR_PAYLOAD_TOO_LARGE' })
    const receipts = await one.publishBatch([
      { topic: 'a/1', data: 'x' },
      { topic: 'a/2', data: { y: 1 } }
    ])
    expect(receipts.map(({ sequence }) => sequence)).toEqual([1, 2])
    expect((await take(subscription, 2)).map((message) => message.topic)).toEqual(['a/1', 'a/2'])
  })

  it.each([
    ['a filter', 'a//#', 'x', 'ERR_TOPIC'],
    ['no topic', '', 'x', 'ERR_TOPIC'],
    ['a reserved topic', '$dlq/x', 'x', 'ERR_TOPIC'],
    ['an inbox', '@me/x', 'x', 'ERR_TOPIC'],
    ['too many levels', Array(16).fill('a').join('/'), 'x', 'ERR_TOPIC'],
    ['nothing', 'a', undefined, 'ERR_PAYLOAD'],
    ['too much', 'a', new Uint8Array(192 * 1024 + 1), 'ERR_PAYLOAD_TOO_LARGE']
  ])('refuses to publish %s', async (_, topic, data, code) => {
    const one = await tcpNode()
    await expect(one.publish(topic, data as never)).rejects.toMatchObject({ code })
    expect((await one.publish('fine', 'x')).sequence).toBe(1)
  })

  it('refuses headers that are too large, an aborted call, and what is no JSON', async () => {
    const one = await tcpNode()
    await expect(
      one.publish('a', 'x', { headers: { big: 'x'.repeat(9000) } })
    ).rejects.toMatchObject({ code: 'ERR_HEADERS_TOO_LARGE' })
    await expect(one.publish('a', 'x', { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'ERR_ABORTED'
    })
    await expect(one.publish('a', 10n as never)).rejects.toMatchObject({ code: 'ERR_PAYLOAD' })
    await expect(one.publish('a', 'x', { priority: 10 })).rejects.toMatchObject({
      code: 'ERR_OPTIONS'
    })
  })

  it('keeps identity, port and messages in its data dir', async () => {
    const dataDir = await folder()
    const first = await tcpNode({ dataDir, listen: ['/ip4/127.0.0.1/tcp/0'] })
    await first.publish('a', 'kept')
    const { mode } = await stat(join(dataDir, 'identity.key'))
    expect(mode & 0o777).toBe(0o600)
    await first.stop()
    const second = await tcpNode({ dataDir })
    expect(second.peerId).toBe(first.peerId)
    const [message] = await take(second.subscribe('a', { from: 'earliest' }), 1)
    expect(message?.text()).toBe('kept')
  })

  it('refuses a data dir that another node uses, and one whose identity is gone or broken', async () => {
    const dataDir = await folder()
    const first = await tcpNode({ dataDir })
    await expect(createNode({ dataDir, mdns: false, logger: silentLogger })).rejects.toMatchObject({
      code: 'ERR_DATA_DIR_LOCKED'
    })
    await first.publish('a', 'x')
    await first.stop()
    const key = join(dataDir, 'identity.key')
    const kept = await readFile(key)
    await writeFile(key, 'nonsense')
    await expect(createNode({ dataDir, mdns: false, logger: silentLogger })).rejects.toMatchObject({
      code: 'ERR_DATA_DIR'
    })
    await rm(key)
    await expect(createNode({ dataDir, mdns: false, logger: silentLogger })).rejects.toMatchObject({
      code: 'ERR_DATA_DIR'
    })
    await writeFile(key, kept)
    expect((await tcpNode({ dataDir })).peerId).toBe(first.peerId)
  })

  it('says in its figures what it did', async () => {
    const one = await tcpNode()
    const subscription = one.subscribe('a')
    await subscription.ready
    await one.publish('a', 'x')
    await take(subscription, 1)
    const text = await one.metrics()
    expect(text).toMatch(/^skein_published_messages_total 1$/m)
    expect(text).toMatch(/^skein_delivered_messages_total 1$/m)
    expect(one.status()).toMatchObject({
      published: 1,
      delivered: 1,
      topics: ['a'],
      store: { condition: 'open' }
    })
    expect(one.topics()).toMatchObject([
      { channel: 'a', messages: 1, logs: [{ publisher: one.peerId, head: 1 }] }
    ])
  })

  it('rejects what is asked of it after it was stopped', async () => {
    const one = await tcpNode()
    const subscription = one.subscribe('a')
    await subscription.ready
    await one.stop()
    await expect(one.publish('a', 'x')).rejects.toMatchObject({ code: 'ERR_STOPPED' })
    expect(() => one.subscribe('a')).toThrow(expect.objectContaining({ code: 'ERR_STOPPED' }))
    expect(await take(subscription, 1)).toEqual([])
    await one.stop()
  })
})
