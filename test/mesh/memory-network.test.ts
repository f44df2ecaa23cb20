import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { systemClock } from '../../src/core/clock.ts'
import type { Transport } from '../../src/mesh/contract.ts'
import { createMemoryNetwork } from '../../src/mesh/memory-network.ts'
import type { MemoryNetwork } from '../../src/mesh/memory-network.ts'

import { frame, listen, memoryNet, seed, until } from './harness.ts'
import type { Inbox } from './harness.ts'
import { transportSuite } from './transport-suite.ts'

transportSuite('in memory', memoryNet)

describe('mesh, memory network', () => {
  let network: MemoryNetwork
  let all: [Transport, Transport, Transport]
  let inboxes: [Inbox, Inbox, Inbox]

  beforeEach(async () => {
    network = createMemoryNetwork({ clock: systemClock })
    const create = (): Transport => network.transport({ privateKey: seed() })
    all = [create(), create(), create()]
    inboxes = [listen(all[0]), listen(all[1]), listen(all[2])]
    for (const transport of all) {
      transport.join('c')
      await transport.start()
    }
    await until('a full mesh', () => all.every((one) => one.members('c').length === 2))
  })
  afterEach(() => Promise.all(all.map((transport) => transport.stop())))

  it('memory network: frames that came over a link that is cut come another way', async () => {
    const [a, b, c] = all
    // Both edges between b and c are dropped for what comes from a.
    const copies = (): number => b.stats().framesReceived + c.stats().framesReceived
    let i = 0
    for (let before = -1; copies() - before !== 2;) {
      before = copies()
      a.broadcast('c', frame(++i))
      await until(
        'the frame',
        () => inboxes[1].frames.length === i && inboxes[2].frames.length === i
      )
      await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
    }
    network.cut(a.self.id, c.self.id)
    await until('b is asked to forward again', () => a.members('c').length === 1)
    const cutAt = i
    await until('frames by the other way', () => {
      if (inboxes[2].frames.length === cutAt) a.broadcast('c', frame(++i))
      return inboxes[2].frames.length > cutAt
    })
    expect(inboxes[2].frames.at(-1)?.from).toBe(b.self.id)
  })

  it('memory network: a frozen peer holds the publisher up, and gets the rest when it thaws', async () => {
    const [a, b, c] = all
    network.freeze(c.self.id)
    let i = 0
    while (a.room('c') === undefined) {
      a.broadcast('c', frame(++i, 100_000))
      await until('the other', () => inboxes[1].frames.length === i)
    }
    expect(inboxes[2].frames).toEqual([])
    network.thaw(c.self.id)
    await a.room('c')
    await until('all', () => inboxes[2].frames.length === i)
    expect(b.stats().framesDropped + a.stats().framesDropped).toBe(0)
  })

  it('memory network: one identity is there once', async () => {
    const privateKey = seed()
    const one = network.transport({ privateKey })
    await one.start()
    await expect(network.transport({ privateKey }).start()).rejects.toMatchObject({
      code: 'ERR_IDENTITY_IN_USE'
    })
    await one.stop()
    expect(() => all[0].dial('/ip4/192.0.2.1/tcp/1')).toThrow(
      expect.objectContaining({ code: 'ERR_OPTIONS' })
    )
  })
})
