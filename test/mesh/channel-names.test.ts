import { describe, expect, it } from 'vitest'

import { systemClock } from '../../src/core/clock.ts'
import { silentLogger } from '../../src/core/logger.ts'
import { Dissemination } from '../../src/mesh/dissemination.ts'
import { CHANNELS_PER_LINK, Link } from '../../src/mesh/link.ts'
import { encodeControl } from '../../src/mesh/push-codec.ts'
import { PushReceiver } from '../../src/mesh/push-receiver.ts'

function receiving(link: Link): { seen: string[]; ups: string[]; receiver: PushReceiver } {
  const seen: string[] = []
  const ups: string[] = []
  const dissemination = new Dissemination(
    {
      clock: systemClock,
      logger: silentLogger,
      gossip: { publish: () => undefined, meshPeers: () => [] },
      links: new Map()
    },
    { onDropped: () => undefined, onRejected: () => undefined }
  )
  const receiver = new PushReceiver(
    { dissemination },
    {
      link,
      onMember: (channel, member) => ups.push(`${member} ${channel}`),
      onSeen: (channel) => seen.push(channel),
      onPeers: () => undefined,
      onPong: () => undefined,
      onJudging: () => undefined
    }
  )
  return { seen, ups, receiver }
}

const newLink = (): Link =>
  new Link({ clock: systemClock }, { peer: 'p', index: 1, leaveBehindMs: 1000 })

describe('mesh: channel names of a neighbour', () => {
  it('channel names: are bounded, however often an index is named anew', () => {
    const link = newLink()
    const { seen, ups, receiver } = receiving(link)
    for (let i = 0; i < CHANNELS_PER_LINK + 100; i++) {
      receiver.push(encodeControl.channel(0, true, `n${i}`))
    }
    expect(link.channels.size).toBe(CHANNELS_PER_LINK)
    expect(link.advertised.size).toBe(CHANNELS_PER_LINK)
    expect(seen.length).toBe(CHANNELS_PER_LINK)
    expect(ups.length).toBe(CHANNELS_PER_LINK)
  })

  it('channel names: what a new greeting does not repeat is over', () => {
    const link = newLink()
    const former = receiving(link)
    former.receiver.push(encodeControl.channel(0, true, 'old'))
    former.receiver.push(encodeControl.channel(1, true, 'kept'))
    former.receiver.push(encodeControl.ping(1))
    const { seen, receiver } = receiving(link)
    receiver.push(encodeControl.channel(0, false, 'kept'))
    receiver.push(encodeControl.channel(1, false, 'new'))
    receiver.push(encodeControl.ping(2))
    expect(seen).toEqual(['new'])
    expect(link.known()).toEqual(['kept', 'new'])
    expect([...link.channels]).toEqual([])
  })

  it('channel names: a number is given in the order of the stream, also when a frame waits', async () => {
    const link = newLink()
    link.sendFrame({ channel: 'c', via: 0, headLength: 1, bytes: Uint8Array.of(1) })
    const written: number[] = []
    const sink = {
      writable: false,
      buffered: 0,
      write: (parts: readonly Uint8Array[]) => written.push(...parts.map((part) => part[4] ?? -1))
    }
    link.attach(sink, () => [])
    link.sendDeclaration('c', true)
    sink.writable = true
    link.pump()
    // The name, the frame's header and its byte, and the declaration.
    expect(written).toEqual([1, 0, -1, 1])
    await Promise.resolve()
  })
})
