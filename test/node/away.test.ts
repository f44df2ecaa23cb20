import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { EngineMesh, type MeshNode, numbered } from '../fixtures/engine-mesh.ts'
import { eventually } from '../processes/skein-process.ts'

const TEXT = { contentType: 'text/plain' }
const bytes = (text: string): Uint8Array => Buffer.from(text)

describe('messages to one peer', () => {
  let mesh: EngineMesh

  beforeEach(() => {
    mesh = new EngineMesh()
  })

  afterEach(() => mesh.stop())

  it('reach a peer that is on, and the receipt comes back', async () => {
    const [a, b] = (await mesh.nodes(2)) as [MeshNode, MeshNode]
    const inbox = await b.collect('@me/#', 'inbox', 'earliest')
    const sent = await a.engine.inbox.send(b.id, { topic: 'alerts', payload: bytes('hi'), ...TEXT })
    expect(await inbox.atLeast(1)).toEqual(['hi'])
    expect(inbox.messages[0]).toMatchObject({ topic: `@${b.id}/alerts`, publisher: a.id })
    await sent.delivered
    expect(a.engine.inbox.outbox.list()).toEqual([])
  })

  it('wait for a peer that is off, over restarts of their sender, and are delivered once', async () => {
    const [a, b] = (await mesh.nodes(2)) as [MeshNode, MeshNode]
    const to = b.id
    await b.stop()
    await a.engine.inbox.send(to, { topic: 'alerts', payload: bytes('one'), ...TEXT })
    for (let life = 0; life < 2; life++) {
      await a.stop()
      await a.start()
      expect(a.engine.inbox.outbox.list()).toMatchObject([{ to, topic: 'alerts' }])
    }
    await b.start()
    const inbox = await b.collect('@me/#', 'inbox', 'earliest')
    expect(await inbox.atLeast(1)).toEqual(['one'])
    await eventually(() => a.engine.inbox.outbox.list().length === 0)
    await b.stop()
    await b.start()
    const again = await b.collect('@me/#', 'inbox', 'earliest')
    await mesh.settled()
    expect(again.texts).toEqual([])
  })

  it('are delivered by custodians when their sender never returns', async () => {
    const [a, b, c, d] = (await mesh.nodes(4)) as [MeshNode, MeshNode, MeshNode, MeshNode]
    const to = b.id
    await b.stop()
    await eventually(
      () =>
        a.engine.mesh.directory.list().filter(({ custodian, connected }) => custodian && connected)
          .length === 2
    )
    for (const text of ['one', 'two']) {
      await a.engine.inbox.send(to, { topic: 'x', payload: bytes(text), custodians: 2, ...TEXT })
    }
    await a.stop()
    await b.start()
    const inbox = await b.collect('@me/#', 'inbox', 'earliest')
    expect(await inbox.atLeast(2)).toEqual(['one', 'two'])
    for (const keeper of [c, d]) {
      await eventually(() => keeper.engine.store.channelUsage(`@${to}`).bytes === 0)
    }
    // The sender learns of it from a custodian, though it never meets its recipient.
    mesh.cut(a, b)
    await a.start()
    await eventually(() => a.engine.inbox.outbox.list().length === 0)
  })

  it('go to a name, and to no name that nobody or several have', async () => {
    const [a, b] = (await mesh.nodes(2)) as [MeshNode, MeshNode]
    const inbox = await b.collect('@me/#', 'inbox', 'earliest')
    await eventually(() => a.engine.mesh.directory.get(b.id)?.name === 'node-2')
    await a.engine.inbox.send('node-2', { topic: 'x', payload: bytes('by name') })
    expect(await inbox.atLeast(1)).toEqual(['by name'])
    const unknown = a.engine.inbox.send('node-3', { topic: 'x', payload: bytes('') })
    await expect(unknown).rejects.toMatchObject({ code: 'ERR_PEER_UNKNOWN' })
  })
})

describe('gaps', () => {
  let mesh: EngineMesh

  beforeEach(() => {
    mesh = new EngineMesh()
  })

  afterEach(() => mesh.stop())

  /** B misses the middle of A's log, which nobody has, and has its end. */
  async function withGap(
    onGap: 'wait' | 'skip'
  ): Promise<{ a: MeshNode; b: MeshNode; got: string[]; gaps: unknown[] }> {
    const [a, b, c] = (await mesh.nodes(3)) as [MeshNode, MeshNode, MeshNode]
    const got: string[] = []
    const gaps: unknown[] = []
    const subscription = b.engine.subscriptions.subscribe('t', {
      durable: 'b',
      gapTimeoutMs: 200,
      onGap
    })
    subscription.onMessage(
      (message) => void got.push(`${message.text()}${message.late ? ' late' : ''}`)
    )
    subscription.events.on('gap', ({ from, reason, to }) => gaps.push({ from, to, reason }))
    await subscription.ready
    const atC = await c.watch('t')
    await a.publish('t', 'one')
    await atC.atLeast(1)
    mesh.cut(a, b)
    mesh.cut(a, c)
    await a.publish('t', 'two')
    // C gets the end alone, from A, and gives it to B while A is away.
    const record = await a.engine.store.readLog(
      { channel: 't', publisher: a.id, session: a.engine.publisher.session },
      1
    )
    expect(record).toHaveLength(2)
    await a.publish('t', 'three')
    const [, , third] = await a.engine.store.readLog(
      { channel: 't', publisher: a.id, session: a.engine.publisher.session },
      1
    )
    if (third?.record === undefined) throw new Error('the third record is missing')
    await c.engine.store.append([{ record: third.record, ageMs: 0 }], { sync: false })
    await eventually(() => b.engine.gaps.in('t').length === 1)
    return { a, b, got, gaps }
  }

  it('are waited for, passed over by command, and filled late', async () => {
    const { a, b, gaps, got } = await withGap('wait')
    expect(got).toEqual(['one'])
    expect(await b.engine.subscriptions.skipGaps('b')).toMatchObject([{ from: 2, to: 2 }])
    await eventually(() => got.length === 2)
    expect(got).toEqual(['one', 'three'])
    expect(gaps).toEqual([{ from: 2, to: 2, reason: 'skipped' }])
    mesh.heal(a, b)
    await eventually(() => got.length === 3)
    expect(got).toEqual(['one', 'three', 'two late'])
  })

  it('are passed over after their time where nobody wants to wait', async () => {
    const { gaps, got } = await withGap('skip')
    await eventually(() => got.length === 2)
    expect(got).toEqual(['one', 'three'])
    expect(gaps).toEqual([{ from: 2, to: 2, reason: 'skipped' }])
  })

  it('that are waited for are filled in order when a holder comes', async () => {
    const { a, b, gaps, got } = await withGap('wait')
    mesh.heal(a, b)
    await eventually(() => got.length === 3)
    expect(got).toEqual(['one', 'two', 'three'])
    expect(gaps).toEqual([])
  })
})

describe('a mesh of many logs', () => {
  it('gives a late joiner all of them, and tells a returning one only what changed', async () => {
    const mesh = new EngineMesh()
    const [a, b] = (await mesh.nodes(2)) as [MeshNode, MeshNode]
    for (let channel = 0; channel < 50; channel++) await a.publish(`c${channel}/x`, String(channel))
    const all = await b.collect('#', 'all', 'earliest')
    await all.atLeast(50)
    expect(all.texts.toSorted()).toEqual(numbered('', 50).toSorted())
    const served = a.engine.holder.stats.records
    mesh.cut(a, b)
    await a.publish('c7/x', 'new')
    mesh.heal(a, b)
    await all.atLeast(51)
    expect(a.engine.holder.stats.records - served).toBe(1)
    await mesh.stop()
  })
})

describe('what a publisher has no more', () => {
  it('ends the wait of those who lack it, by its own signed word', async () => {
    const mesh = new EngineMesh()
    const [a, b] = (await mesh.nodes(2)) as [MeshNode, MeshNode]
    const got: string[] = []
    const gaps: unknown[] = []
    const subscription = b.engine.subscriptions.subscribe('t', { durable: 'b' })
    subscription.onMessage((message) => void got.push(message.text()))
    subscription.events.on('gap', ({ from, reason, to }) => gaps.push({ from, to, reason }))
    await subscription.ready
    await a.publish('t', 'one')
    await eventually(() => got.length === 1)
    mesh.cut(a, b)
    await a.publish('t', 'two')
    await a.publish('t', 'three')
    const session = a.engine.publisher.session
    await a.engine.store.raiseFloor({ channel: 't', publisher: a.id, session }, 3)
    mesh.heal(a, b)
    await eventually(() => got.length === 2, { timeoutMs: 18_000 })
    expect(got).toEqual(['one', 'three'])
    expect(gaps).toEqual([{ from: 2, to: 2, reason: 'trimmed' }])
    await mesh.stop()
  })
})
