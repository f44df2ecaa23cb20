import { describe, it, type TestContext } from 'vitest'
import type { Message, SubscribeOptions, Subscription } from '../../src/delivery/contract.ts'
import { EngineMesh, type MeshNode, numbered } from '../fixtures/engine-mesh.ts'
import { eventually as within } from '../processes/skein-process.ts'
import { outgoing } from '../../src/node/outgoing.ts'

/** A busy machine takes its time. */
const eventually = (condition: () => Promise<boolean> | boolean) =>
  within(condition, { timeoutMs: 50_000 })

/** A mesh of its own for each test: they wait for time to pass more than they work, so they run side by side. */
function meshOf(context: TestContext): EngineMesh {
  const mesh = new EngineMesh()
  context.onTestFinished(() => mesh.stop())
  return mesh
}

interface Handed {
  readonly by: string
  readonly text: string
  readonly key: string | undefined
  readonly message: Message
}

/** Everything that members of one group were handed, in the order in which that happened. */
class Team {
  readonly handed: Handed[] = []
  /** Texts acknowledged, by whoever. */
  readonly done: string[] = []
  /** What members do not acknowledge. */
  readonly kept = new Set<string>()

  async join(node: MeshNode, by: string, options: SubscribeOptions = {}): Promise<Subscription> {
    const subscription = node.group('jobs/#', 'billing', options)
    subscription.onMessage((message) => {
      const text = message.text()
      this.handed.push({ by, text, key: message.key, message })
      // Kept in hand until the test lets go of it.
      return this.kept.has(by) ? new Promise<void>(() => undefined) : this.#done(message, text)
    })
    await subscription.ready
    return subscription
  }

  async #done(message: Message, text: string): Promise<void> {
    await message.ack()
    this.done.push(text)
  }

  get texts(): string[] {
    return this.handed.map(({ text }) => text)
  }

  async all(texts: readonly string[]): Promise<void> {
    await eventually(() => texts.every((text) => this.done.includes(text)))
  }
}

/** Resolves when these, and no others, share all slots. */
async function shared(nodes: readonly MeshNode[]): Promise<void> {
  await eventually(async () => {
    for (const node of nodes) {
      const [group] = await node.engine.groups.list()
      const owners = group?.members.filter(({ slots }) => slots > 0) ?? []
      const slots = owners.reduce((sum, member) => sum + member.slots, 0)
      if (slots !== 256 || owners.length !== nodes.length) return false
      if (owners.some(({ peerId }) => nodes.every(({ id }) => id !== peerId))) return false
    }
    return true
  })
}

const publish = (node: MeshNode, text: string, key: string | undefined) =>
  node.engine.publisher.publish(
    outgoing('jobs/new', text, key === undefined ? {} : { key }, 192 * 1024),
    'stored'
  )

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

describe.concurrent('groups: later', { timeout: 60_000 }, () => {
  it('hands a message over at its time, and those of its key behind it', async (context) => {
    const { expect } = context
    const mesh = meshOf(context)
    const [a] = (await mesh.nodes(1)) as [MeshNode]
    const team = new Team()
    await team.join(a, 'a')
    const deliverAt = new Date(Date.now() + 2_000)
    const later = outgoing('jobs/new', 'later', { key: 'k', deliverAt }, 192 * 1024)
    await a.engine.publisher.publish(later, 'stored')
    await publish(a, 'behind', 'k')
    await publish(a, 'at once', 'other')
    await team.all(['later', 'behind', 'at once'])
    expect(team.texts).toEqual(['at once', 'later', 'behind'])
    expect(Date.now()).toBeGreaterThanOrEqual(deliverAt.getTime())
    expect(team.handed.map(({ message }) => message.attempt)).toEqual([1, 1, 1])
  })
})

describe.concurrent('groups: opening', { timeout: 60_000 }, () => {
  const code = (run: () => unknown): unknown => {
    try {
      run()
    } catch (error) {
      return (error as { code?: unknown }).code
    }
    return undefined
  }

  it('refuses what does not go together', async (context) => {
    const { expect } = context
    const mesh = meshOf(context)
    const [a, b] = (await mesh.nodes(2)) as [MeshNode, MeshNode]
    await a.group('jobs/#', 'billing').ready
    expect(code(() => a.group('jobs/#', 'billing'))).toBe('ERR_SUBSCRIPTION_IN_USE')
    expect(code(() => a.group('jobs/#', 'x', { durable: 'y' }))).toBe('ERR_OPTIONS')
    expect(code(() => a.group('jobs/#', 'x/y'))).toBe('ERR_OPTIONS')
    expect(code(() => a.group('@me/#', 'x'))).toBe('ERR_OPTIONS')
    expect(code(() => a.group('jobs/#', 'x', { where: [] }))).toBe('ERR_OPTIONS')
    expect(code(() => a.group('jobs/#', 'x', { maxDeliveries: 3 }))).toBe('ERR_OPTIONS')
    expect(code(() => a.group('jobs/#', 'x', { from: 'last' }))).toBe('ERR_OPTIONS')
    const majority = b.group('jobs/#', 'billing', { onPartition: { majority: 3 } })
    await expect(majority.ready).rejects.toMatchObject({ code: 'ERR_SUBSCRIPTION_CONFLICT' })
    const { subscriptions } = a.engine
    const durable = { durable: 'billing' }
    expect(code(() => subscriptions.subscribe('jobs/#', durable))).toBe('ERR_SUBSCRIPTION_CONFLICT')
    expect(await subscriptions.list()).toEqual([])
    await expect(b.group('other/#', 'billing').ready).rejects.toMatchObject({
      code: 'ERR_SUBSCRIPTION_CONFLICT'
    })
    await subscriptions.subscribe('jobs/#', { durable: 'own' }).ready
    expect(code(() => a.group('jobs/#', 'own'))).toBe('ERR_SUBSCRIPTION_CONFLICT')
  })

  it('takes no more members than its majority counts', async (context) => {
    const { expect } = context
    const mesh = meshOf(context)
    const [a, b, c] = (await mesh.nodes(3)) as [MeshNode, MeshNode, MeshNode]
    const onPartition = { majority: 2 }
    const team = new Team()
    await team.join(a, 'a', { onPartition })
    await team.join(b, 'b')
    const third = c.group('jobs/#', 'billing')
    const error = await new Promise<unknown>((resolve) => {
      third.events.on('end', ({ error: reason }) => resolve(reason))
    })
    expect(error).toMatchObject({ code: 'ERR_SUBSCRIPTION_CONFLICT' })
    await a.publishMany('jobs/new', 'm', 10)
    await team.all(numbered('m', 10))
    const [group] = await a.engine.groups.list()
    expect(group).toMatchObject({ onPartition })
  })

  it('forgets a group on every node, and begins another one under its name', async (context) => {
    const { expect } = context
    const mesh = meshOf(context)
    const [a, b] = (await mesh.nodes(2)) as [MeshNode, MeshNode]
    const team = new Team()
    const one = await team.join(a, 'a', { from: 'earliest' })
    const other = await team.join(b, 'b')
    await shared([a, b])
    await a.publishMany('jobs/new', 'm', 10)
    await team.all(numbered('m', 10))
    await expect(b.engine.groups.forget('billing')).rejects.toMatchObject({
      code: 'ERR_SUBSCRIPTION_IN_USE'
    })
    await one.stop()
    await other.stop()
    await eventually(async () => {
      const [group] = await b.engine.groups.list()
      return group?.members.every(({ state }) => state !== 'live') === true
    })
    await b.engine.groups.forget('billing')
    await eventually(async () => (await a.engine.groups.list()).length === 0)
    expect(await b.engine.groups.list()).toEqual([])
    await eventually(() => a.engine.store.registrations().length === 0)
    await expect(b.engine.groups.forget('billing')).rejects.toMatchObject({
      code: 'ERR_SUBSCRIPTION_UNKNOWN'
    })
    // What the one before had done is done anew, by the filter that the new one has.
    const later = new Team()
    await later.join(b, 'b', { from: 'earliest' })
    await later.all(numbered('m', 10))
    await b.stop()
    await b.start()
    expect((await b.engine.groups.list()).map(({ lag, name }) => [name, lag])).toEqual([
      ['billing', 0]
    ])
  })

  it('agrees on one group where two nodes make it at once', async (context) => {
    const { expect } = context
    const mesh = meshOf(context)
    const [a, b] = (await mesh.nodes(2)) as [MeshNode, MeshNode]
    const team = new Team()
    await Promise.all([team.join(a, 'a'), team.join(b, 'b')])
    await shared([a, b])
    await a.publishMany('jobs/new', 'm', 30)
    await team.all(numbered('m', 30))
    expect(team.texts).toHaveLength(30)
  })

  it('takes up the channels of a wildcard as they appear', async (context) => {
    const { expect } = context
    const mesh = meshOf(context)
    const [a, b] = (await mesh.nodes(2)) as [MeshNode, MeshNode]
    const subscription = a.group('+/new', 'all')
    await subscription.ready
    await b.publish('fresh/new', 'one')
    await b.publish('fresh/old', 'not this')
    const [message] = await subscription.pull(1, 20_000)
    expect(message?.topic).toBe('fresh/new')
    await message?.ack()
  })
})
