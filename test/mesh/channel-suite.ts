import { expect, it } from 'vitest'

import { LIMITS } from '../../src/core/limits.ts'
import type { Transport } from '../../src/mesh/contract.ts'

import { frame, listen, until } from './harness.ts'
import type { Net } from './harness.ts'

/** What every Transport tells and learns of channels; part of the transport suite. */
export function channelTests(
  create: (count: number) => Promise<[Transport, Transport, ...Transport[]]>,
  net: () => Net
): void {
  it('channels: what is advertised or joined is seen by everybody, once, now and after a cut', async () => {
    const [a, b] = await create(2)
    const seen: string[] = []
    const ups: string[] = []
    a.events.on('channel:seen', ({ peer, channel }) => {
      expect(peer).toBe(b.self.id)
      seen.push(channel)
    })
    a.events.on('channel:up', ({ channel }) => ups.push(channel))
    await until('connected', () => a.peers().some(({ connected }) => connected))
    b.advertise('told')
    b.advertise('told')
    b.join('joined')
    b.advertise('joined')
    await until('both are seen', () => seen.length === 2)
    b.leave('joined')
    b.join('joined')
    b.join('told')
    b.advertise('last')
    await until('the last is seen', () => seen.length > 2)
    expect(seen).toEqual(['told', 'joined', 'last'])
    expect(a.peers()[0]?.advertised.toSorted()).toEqual(['joined', 'last', 'told'])
    expect(a.peers()[0]?.channels.toSorted()).toEqual(['joined', 'told'])
    expect(ups).toEqual([])
    b.leave('told')
    net().cut()
    await until('down', () => a.peers().every(({ connected }) => !connected))
    expect(a.peers()[0]?.advertised).toEqual([])
    net().heal()
    await until('all are seen again', () => seen.length === 6)
    expect(seen.slice(3).toSorted()).toEqual(['joined', 'last', 'told'])
    expect(a.members('told')).toEqual([])
  })

  it('channels: of what is advertised without end the oldest is forgotten, and frames still go through', async () => {
    const [a, b] = await create(2)
    const inbox = listen(b)
    b.join('c')
    for (let i = 0; i < LIMITS.advertisedChannels + 10; i++) a.advertise(`n${i}`)
    await until('the member is known', () => a.members('c').length === 1)
    await until('the last is known', () =>
      (b.peers()[0]?.advertised ?? []).includes(`n${LIMITS.advertisedChannels + 9}`)
    )
    net().cut()
    await until('down', () => b.peers().every(({ connected }) => !connected))
    net().heal()
    await until('the greeting', () => b.peers()[0]?.advertised.length === LIMITS.advertisedChannels)
    expect(b.peers()[0]?.advertised).not.toContain('n9')
    await until('the member is back', () => a.members('c').length === 1)
    a.broadcast('c', frame(1))
    await until('the frame', () => inbox.frames.length === 1)
  })
}
