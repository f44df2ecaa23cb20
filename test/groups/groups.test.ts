import { describe, it } from 'vitest'
import { type MeshNode, numbered } from '../fixtures/engine-mesh.ts'
import { eventually, meshOf, publish, shared, Team } from './team.ts'

describe.concurrent('groups: sharing', { timeout: 60_000 }, () => {
  it('hands each message to one member, and to all members some', async (context) => {
    const { expect } = context
    const mesh = meshOf(context)
    const [a, b, c] = (await mesh.nodes(3)) as [MeshNode, MeshNode, MeshNode]
    const team = new Team()
    await Promise.all([team.join(a, 'a'), team.join(b, 'b'), team.join(c, 'c')])
    await shared([a, b, c])
    const texts = numbered('m', 60)
    await Promise.all(texts.map((text) => publish(a, text, undefined)))
    await team.all(texts)
    expect(team.texts.toSorted()).toEqual(texts.toSorted())
    expect(new Set(team.handed.map(({ by }) => by)).size).toBe(3)
    await eventually(async () => (await a.engine.groups.list())[0]?.lag === 0)
  })

  it('hands over what was published before anyone of it came up, from the start', async (context) => {
    const { expect } = context
    const mesh = meshOf(context)
    const [a, b] = (await mesh.nodes(2)) as [MeshNode, MeshNode]
    await a.publishMany('jobs/new', 'm', 50)
    const team = new Team()
    await team.join(b, 'b', { from: 'earliest' })
    await team.all(numbered('m', 50))
    expect(team.texts).toHaveLength(50)
  })

  it('begins now where it does not say: what was there before is no work', async (context) => {
    const { expect } = context
    const mesh = meshOf(context)
    const [a, b] = (await mesh.nodes(2)) as [MeshNode, MeshNode]
    await a.publishMany('jobs/new', 'old', 5)
    const team = new Team()
    await team.join(a, 'a')
    await team.join(b, 'b')
    await a.publishMany('jobs/new', 'new', 20)
    await team.all(numbered('new', 20))
    expect(team.texts.toSorted()).toEqual(numbered('new', 20).toSorted())
  })

  it('repeats nothing while members come and leave in peace', async (context) => {
    const { expect } = context
    const mesh = meshOf(context)
    const [a, b, c] = (await mesh.nodes(3)) as [MeshNode, MeshNode, MeshNode]
    const team = new Team()
    await team.join(a, 'a')
    let stop = false
    const texts: string[] = []
    const publishing = (async () => {
      while (!stop) {
        const text = `m${texts.length}`
        texts.push(text)
        await publish(c, text, `k${texts.length % 7}`)
        // Some are always under way.
        await eventually(() => stop || team.done.length > texts.length - 20)
      }
    })()
    await eventually(() => team.done.length > 20)
    const left = await team.join(b, 'b')
    await shared([a, b])
    await team.join(c, 'c')
    await shared([a, b, c])
    await left.stop()
    await shared([a, c])
    stop = true
    await publishing
    await team.all(texts)
    expect(team.texts.toSorted()).toEqual(texts.toSorted())
    const order = (list: readonly string[]) => list.map((text) => Number(text.slice(1)))
    for (const key of new Set(team.handed.map((one) => one.key))) {
      const numbers = order(team.handed.filter((one) => one.key === key).map(({ text }) => text))
      expect(numbers).toEqual(numbers.toSorted((one, other) => one - other))
    }
  })
})

describe.concurrent('groups: failure', { timeout: 60_000 }, () => {
  it('gives what a crashed member had in hand to another, in the order of each key', async (context) => {
    const { expect } = context
    const mesh = meshOf(context)
    const [a, b, c] = (await mesh.nodes(3)) as [MeshNode, MeshNode, MeshNode]
    const team = new Team()
    team.kept.add('a')
    await team.join(a, 'a')
    await team.join(b, 'b')
    await shared([a, b])
    const texts = numbered('m', 60)
    for (const [at, text] of texts.entries()) await publish(c, text, `k${at % 6}`)
    await eventually(() => team.handed.some(({ by }) => by === 'a'))
    const before = team.handed.filter(({ by }) => by === 'a')
    // Of a key the next waits for the one before.
    expect(new Set(before.map(({ key }) => key)).size).toBe(before.length)
    await a.crash()
    await team.all(texts)
    for (let key = 0; key < 6; key++) {
      const own = team.handed.filter((one) => one.by === 'b' && one.key === `k${key}`)
      expect(own.map(({ text }) => text)).toEqual(texts.filter((_, at) => at % 6 === key))
    }
    const repeated = team.texts.length - texts.length
    expect(repeated).toBe(before.length)
  })

  it('knows what was done after all members have stopped', async (context) => {
    const { expect } = context
    const mesh = meshOf(context)
    const [a, b, c] = (await mesh.nodes(3)) as [MeshNode, MeshNode, MeshNode]
    const team = new Team()
    await team.join(a, 'a')
    await team.join(b, 'b')
    await publish(c, 'one', undefined)
    await publish(c, 'two', undefined)
    await team.all(['one', 'two'])
    await a.stop()
    await b.stop()
    await publish(c, 'three', undefined)
    await b.start()
    await mesh.settled()
    const later = new Team()
    await later.join(b, 'b')
    await later.all(['three'])
    expect(later.texts).toEqual(['three'])
    // And one that was never a member hears it from the others.
    await b.stop()
    const last = new Team()
    await a.start()
    await mesh.settled()
    await last.join(a, 'a')
    await publish(c, 'four', undefined)
    await last.all(['four'])
    expect(last.texts).toEqual(['three', 'four'].slice(-last.texts.length))
  })

  it('lets both sides of a partition work, and counts what either did', async (context) => {
    const { expect } = context
    const mesh = meshOf(context)
    const [a, b] = (await mesh.nodes(2)) as [MeshNode, MeshNode]
    const team = new Team()
    await team.join(a, 'a')
    await team.join(b, 'b')
    await shared([a, b])
    mesh.cut(a, b)
    await a.publishMany('jobs/new', 'a', 20)
    await b.publishMany('jobs/new', 'b', 20)
    await team.all([...numbered('a', 20), ...numbered('b', 20)])
    mesh.heal(a, b)
    await mesh.settled()
    await shared([a, b])
    for (const node of [a, b]) {
      await eventually(async () => (await node.engine.groups.list())[0]?.lag === 0)
    }
    const count = team.texts.length
    await a.publishMany('jobs/new', 'c', 10)
    await team.all(numbered('c', 10))
    expect(team.texts).toHaveLength(count + 10)
  })

  it('gives a message that is not acknowledged in time to another member', async (context) => {
    const { expect } = context
    const mesh = meshOf(context)
    const [a, b] = (await mesh.nodes(2)) as [MeshNode, MeshNode]
    const idle = a.group('jobs/#', 'billing', { ackTimeoutMs: 1_000 })
    await idle.ready
    const team = new Team()
    await team.join(b, 'b')
    await shared([a, b])
    const texts = numbered('m', 12)
    await a.publishMany('jobs/new', 'm', 12)
    const taken = await idle.pull(12, 10_000)
    expect(taken).not.toHaveLength(0)
    await team.all(texts)
    expect(team.texts.toSorted()).toEqual(texts.toSorted())
  })

  it('hands it over again where there is no other member', async (context) => {
    const { expect } = context
    const mesh = meshOf(context)
    const [a] = (await mesh.nodes(1)) as [MeshNode]
    const subscription = a.group('jobs/#', 'billing', { ackTimeoutMs: 200 })
    await subscription.ready
    await publish(a, 'one', undefined)
    const [first] = await subscription.pull(1, 10_000)
    const [second] = await subscription.pull(1, 10_000)
    expect([first?.attempt, second?.attempt, second?.id]).toEqual([1, 2, first?.id])
    await second?.nack()
    const [third] = await subscription.pull(1, 10_000)
    expect([third?.attempt, subscription.inFlight(third?.id ?? '')?.id]).toEqual([3, first?.id])
    await third?.ack()
    expect(subscription.status().inFlight).toBe(0)
  })

  it('puts a message away that failed too often, goes on with its key, and hands it over when it is redriven', async (context) => {
    const { expect } = context
    const mesh = meshOf(context)
    const [a] = (await mesh.nodes(1)) as [MeshNode]
    const attempts: string[] = []
    const letters: unknown[] = []
    let isMended = false
    const retry = { minMs: 1, maxMs: 2 }
    const subscription = a.group('jobs/#', 'billing', { maxDeliveries: 3, retry })
    subscription.events.on('dead-letter', (letter) => letters.push(letter))
    subscription.onMessage((message) => {
      attempts.push(`${message.text()} ${message.attempt}`)
      if (message.text() === 'poison' && !isMended) throw new Error('not this one')
    })
    await subscription.ready
    await publish(a, 'poison', 'k')
    await publish(a, 'behind', 'k')
    await eventually(() => attempts.includes('behind 1'))
    expect(attempts).toEqual(['poison 1', 'poison 2', 'poison 3', 'behind 1'])
    const [listed, ...more] = await a.engine.subscriptions.deadLetters.list()
    expect(more).toEqual([])
    expect(listed).toMatchObject({
      subscription: 'billing',
      topic: 'jobs/new',
      reason: 'handler error',
      error: 'not this one',
      attempts: 3
    })
    expect(listed?.id).toContain('/$dlq/billing')
    expect(letters).toHaveLength(1)
    isMended = true
    expect(await a.engine.subscriptions.redrive('billing')).toBe(1)
    await eventually(() => attempts.length === 5)
    expect(attempts.at(-1)).toBe('poison 1')
    await eventually(async () => (await a.engine.groups.list())[0]?.lag === 0)
    expect(await a.engine.subscriptions.deadLetters.list()).toEqual([])
  })

  it('takes slots from a member that takes no more', async (context) => {
    const { expect } = context
    const mesh = meshOf(context)
    const [a, b] = (await mesh.nodes(2)) as [MeshNode, MeshNode]
    const team = new Team()
    team.kept.add('a')
    await team.join(a, 'a', { maxInFlight: 1 })
    await team.join(b, 'b')
    await shared([a, b])
    await a.publishMany('jobs/new', 'm', 60)
    await eventually(() => team.handed.some(({ by }) => by === 'a'))
    const slots = async () =>
      (await a.engine.groups.list())[0]?.members.find(({ peerId }) => peerId === a.id)?.slots ?? 0
    const before = await slots()
    await eventually(async () => (await slots()) < before)
    expect(team.handed.filter(({ by }) => by === 'a')).toHaveLength(1)
  })
})
