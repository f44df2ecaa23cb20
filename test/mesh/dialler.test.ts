import { beforeEach, describe, expect, it } from 'vitest'

import { seededRandom } from '../../src/core/random.ts'
import { Dialler } from '../../src/mesh/dialler.ts'
import type { DialResult } from '../../src/mesh/dialler.ts'
import { SeenFrames } from '../../src/mesh/seen-frames.ts'
import { OUTCAST_BELOW, Standing } from '../../src/mesh/standing.ts'

import { ManualClock } from '../fixtures/manual-clock.ts'

const HOUR = 3_600_000
const ADDRESS = '/ip4/192.0.2.1/tcp/1'

describe('dialler', () => {
  let clock: ManualClock
  let dialler: Dialler
  let dials: Array<{ at: number; addresses: readonly string[]; timeoutMs: number }>
  let result: DialResult
  let connected: Set<string>
  let wants: boolean

  beforeEach(() => {
    clock = new ManualClock()
    dials = []
    result = { peer: undefined, refused: false }
    connected = new Set()
    wants = true
    dialler = new Dialler(
      { clock, random: seededRandom(1) },
      {
        self: 'm',
        dial: (addresses, timeoutMs) => {
          dials.push({ at: clock.now(), addresses, timeoutMs })
          return Promise.resolve(result)
        },
        isConnected: (peer) => connected.has(peer),
        wants: () => wants
      }
    )
    dialler.start()
  })

  const waits = (): number[] => dials.slice(1).map(({ at }, i) => at - (dials[i]?.at ?? 0))

  it('dialler: a recent peer is dialled for ever, at most 1.5 s apart', async () => {
    dialler.found({ id: 'z', addresses: [ADDRESS], lastSeen: clock.now() })
    await clock.advance(600_000)
    expect(dials.length).toBeGreaterThan(400)
    expect(Math.max(...waits())).toBeLessThanOrEqual(1500)
    expect(dials[0]?.addresses).toEqual([`${ADDRESS}/p2p/z`])
    expect(dials.filter(({ timeoutMs }) => timeoutMs <= 1000).length).toBeGreaterThan(
      dials.length / 2
    )
  })

  it('dialler: an old one at most 30 s apart, and a forgotten one not at all', async () => {
    await clock.advance(1)
    dialler.found({ id: 'y', addresses: [ADDRESS], lastSeen: clock.now() - 8 * 24 * HOUR })
    await clock.advance(60_000)
    expect(dials).toEqual([])
    dialler.found({ id: 'z', addresses: [ADDRESS], lastSeen: clock.now() - 2 * HOUR })
    await clock.advance(3_000_000)
    expect(Math.max(...waits())).toBeLessThanOrEqual(30_000)
    expect(dials.length).toBeLessThan(250)
    expect(dials.length).toBeGreaterThan(100)
  })

  it('dialler: of a pair the lesser id dials first', async () => {
    dialler.found({ id: 'a', addresses: [ADDRESS], lastSeen: clock.now() })
    await clock.advance(100)
    expect(dials).toEqual([])
    connected.add('a')
    dialler.connected('a')
    await clock.advance(1000)
    expect(dials).toEqual([])
    dialler.found({ id: 'z', addresses: [ADDRESS], lastSeen: clock.now() })
    await clock.advance(1)
    expect(dials).toHaveLength(1)
  })

  it('dialler: a lost peer is dialled again at once, and a link event ends a long wait', async () => {
    connected.add('z')
    dialler.found({ id: 'z', addresses: [ADDRESS], lastSeen: clock.now() })
    dialler.connected('z')
    await clock.advance(10_000)
    expect(dials).toEqual([])
    connected.delete('z')
    dialler.disconnected('z')
    await clock.advance(1)
    expect(dials).toHaveLength(1)
    await clock.advance(2 * HOUR)
    const before = dials.length
    dialler.reset()
    await clock.advance(150)
    expect(dials.length).toBeGreaterThan(before)
  })

  it('dialler: connections that never last are not dialled in a frenzy', async () => {
    result = { peer: 'z', refused: false }
    dialler.found({ id: 'z', addresses: [ADDRESS], lastSeen: clock.now() })
    for (let second = 0; second < 60; second++) {
      await clock.advance(1000)
      dialler.connected('z')
      dialler.disconnected('z')
    }
    expect(dials.length).toBeLessThan(80)
  })

  it('dialler: a refusal is respected for a while', async () => {
    result = { peer: undefined, refused: true }
    dialler.addFixed(ADDRESS)
    await clock.advance(60_000)
    expect(dials.length).toBeLessThanOrEqual(5)
  })

  it('dialler: an address without a peer id is dialled until someone answers, and again when that one is lost', async () => {
    dialler.addFixed(ADDRESS)
    await clock.advance(5000)
    expect(dials.length).toBeGreaterThan(3)
    result = { peer: 'q', refused: false }
    connected.add('q')
    await clock.advance(5000)
    const before = dials.length
    await clock.advance(60_000)
    expect(dials.length).toBe(before)
    dialler.connected('q')
    await clock.advance(6000)
    result = { peer: undefined, refused: false }
    connected.delete('q')
    dialler.disconnected('q')
    await clock.advance(1)
    expect(dials.length).toBe(before + 1)
  })

  it('dialler: nothing is dialled by a full node but what the operator gave, and nothing after stop', async () => {
    wants = false
    dialler.found({ id: 'z', addresses: [ADDRESS], lastSeen: clock.now() })
    await clock.advance(60_000)
    expect(dials).toEqual([])
    dialler.addFixed('/ip4/192.0.2.2/tcp/2')
    await clock.advance(1000)
    expect(dials.length).toBeGreaterThan(0)
    dialler.stop()
    const before = dials.length
    await clock.advance(60_000)
    expect(dials.length).toBe(before)
  })

  it('dialler: the newest addresses of a peer come first, and 16 are kept', async () => {
    for (let port = 1; port <= 20; port++) {
      dialler.found({ id: 'z', addresses: [`/ip4/192.0.2.1/tcp/${port}`], lastSeen: clock.now() })
    }
    await clock.advance(1)
    expect(dials[0]?.addresses).toHaveLength(16)
    expect(dials[0]?.addresses[0]).toBe('/ip4/192.0.2.1/tcp/20/p2p/z')
  })
})

describe('standing', () => {
  it('standing: blame lowers it, time heals it, and eight at once cut a peer off for a minute', async () => {
    const clock = new ManualClock()
    const standing = new Standing(clock)
    expect(standing.score('p')).toBe(0)
    expect(standing.blame('p')).toBe(false)
    expect(standing.score('p')).toBe(-10)
    await clock.advance(60_000)
    expect(standing.score('p')).toBeCloseTo(-5)
    await clock.advance(600_000)
    expect(standing.score('p')).toBe(0)
    const results = Array.from({ length: 10 }, () => standing.blame('p'))
    expect(results.filter(Boolean)).toHaveLength(1)
    expect(standing.score('p')).toBeLessThan(OUTCAST_BELOW)
    expect(standing.outcast('p')).toBe(true)
    await clock.advance(60_001)
    expect(standing.outcast('p')).toBe(false)
  })
})

describe('seen frames', () => {
  it('seen frames: are bounded in number and time, and remembered at least as long as said', async () => {
    const clock = new ManualClock()
    const seen = new SeenFrames(clock, 1000, 100)
    for (let i = 0; i < 1000; i++) seen.add(String(i))
    expect(seen.has('999') && seen.has('901')).toBe(true)
    expect(seen.has('700')).toBe(false)
    seen.add('x')
    await clock.advance(999)
    seen.add('y')
    expect(seen.has('x')).toBe(true)
    await clock.advance(1001)
    seen.add('z')
    await clock.advance(1001)
    seen.add('z')
    expect(seen.has('x')).toBe(false)
  })
})
