import { describe, it } from 'vitest'
import { outgoing } from '../../src/node/outgoing.ts'
import { type MeshNode, numbered } from '../fixtures/engine-mesh.ts'
import { eventually, meshOf, publish, shared, Team } from './team.ts'

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
