import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Collected, EngineMesh, type MeshNode, numbered } from '../fixtures/engine-mesh.ts'
import { eventually } from '../processes/skein-process.ts'

describe('sync', () => {
  let mesh: EngineMesh

  beforeEach(() => {
    mesh = new EngineMesh()
  })

  afterEach(() => mesh.stop())

  it('a durable subscriber that was off gets everything in order from whoever holds it', async () => {
    const [a, b, c] = (await mesh.nodes(3)) as [MeshNode, MeshNode, MeshNode]
    await b.collect('orders/#', 'b')
    const atC = await c.watch('orders/#')
    await b.stop()
    await a.publishMany('orders/new', 'm', 500)
    await atC.atLeast(500)
    await a.stop()
    await b.start()
    const atB = await b.collect('orders/#', 'b')
    expect(await atB.atLeast(500)).toEqual(numbered('m', 500))
  })

  it('both sides of a cut end with the same set, in order per publisher', async () => {
    const [a, b] = (await mesh.nodes(2)) as [MeshNode, MeshNode]
    const atA = await a.collect('t', 'a')
    const atB = await b.collect('t', 'b')
    mesh.cut(a, b)
    await Promise.all([a.publishMany('t', 'a', 300), b.publishMany('t', 'b', 300)])
    mesh.heal(a, b)
    for (const collected of [atA, atB]) {
      const texts = await collected.atLeast(600)
      expect(texts.filter((text) => text.startsWith('a'))).toEqual(numbered('a', 300))
      expect(texts.filter((text) => text.startsWith('b'))).toEqual(numbered('b', 300))
    }
  })

  it("a publisher's new session waits for the end of the one before", async () => {
    const [a, b] = (await mesh.nodes(2)) as [MeshNode, MeshNode]
    const atB = await b.collect('t', 'b')
    await a.publishMany('t', 'm', 10)
    await atB.atLeast(10)
    mesh.cut(a, b)
    await a.publishMany('t', 'n', 10)
    await a.stop()
    await a.start()
    await a.publishMany('t', 'o', 10)
    mesh.heal(a, b)
    expect(await atB.atLeast(30)).toEqual([
      ...numbered('m', 10),
      ...numbered('n', 10),
      ...numbered('o', 10)
    ])
  })

  it('a late joiner gets the history with earliest, in order, also on a channel it follows already', async () => {
    const [a, b] = (await mesh.nodes(2)) as [MeshNode, MeshNode]
    await a.publishMany('t', 'old', 200)
    const live = await b.watch('t')
    await a.publishMany('t', 'new', 50)
    await live.atLeast(50)
    expect(live.texts).toEqual(numbered('new', 50))
    const all = await b.collect('t', 'all', 'earliest')
    expect(await all.atLeast(250)).toEqual([...numbered('old', 200), ...numbered('new', 50)])
    expect(live.texts).toEqual(numbered('new', 50))
  })

  it('a durable subscription from now gets nothing from before, and everything from then on', async () => {
    const [a, b, c] = (await mesh.nodes(3)) as [MeshNode, MeshNode, MeshNode]
    const atC = await c.watch('t')
    await a.publishMany('t', 'old', 100)
    await atC.atLeast(100)
    const atB = await b.collect('t', 'b')
    await b.stop()
    await a.publishMany('t', 'new', 100)
    await atC.atLeast(200)
    await a.stop()
    await b.start()
    const again = await b.collect('t', 'b')
    expect(await again.atLeast(100)).toEqual(numbered('new', 100))
    expect(atB.texts).toEqual([])
  })

  it('a durable wildcard goes on where it was, though its channel speaks while it opens', async () => {
    const node = await mesh.start()
    const first = await node.collect('+/+', 'wild', 'earliest')
    await node.publishMany('t/x', 'old', 50)
    await first.atLeast(50)
    await first.subscription.stop()
    for (let round = 0; round < 10; round++) {
      const subscription = node.engine.subscriptions.subscribe('+/+', { durable: 'wild' })
      const again = new Collected(subscription)
      for (let at = 0; at < 20; at++) {
        await node.publish('t/x', `${round} ${at}`)
      }
      await again.atLeast(20)
      await subscription.stop()
      expect(again.texts).toEqual(Array.from({ length: 20 }, (_, at) => `${round} ${at}`))
    }
  })

  it('who keeps a channel gives it to those who come when its publisher is gone', async () => {
    const [a, keeper] = [await mesh.start(), await mesh.start({ keep: ['t/#'] })]
    await mesh.settled()
    await a.publishMany('t/x', 'm', 100)
    await eventually(
      () => keeper.engine.store.journal('t').next - keeper.engine.store.journal('t').first === 100
    )
    await a.stop()
    const late = await mesh.start()
    const got = await late.collect('t/#', 'late', 'earliest')
    expect(await got.atLeast(100)).toEqual(numbered('m', 100))
  })
})
