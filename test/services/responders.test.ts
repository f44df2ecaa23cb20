import { describe, expect, it } from 'vitest'
import { Emitter } from '../../src/core/events.ts'
import { silentLogger } from '../../src/core/logger.ts'
import { seededRandom } from '../../src/core/random.ts'
import { SkeinError } from '../../src/core/errors.ts'
import type { TransportEvents, TransportPeer } from '../../src/mesh/contract.ts'
import type { PeerDirectoryEvents, PeerEntry } from '../../src/replication/peer-directory.ts'
import type { CallFailure } from '../../src/services/call.ts'
import { Responders } from '../../src/services/responders.ts'
import { ManualClock } from '../fixtures/manual-clock.ts'

const fail = (error: unknown): never => {
  throw error
}

/** Responders of a node that hears of others what a test says, and reaches nobody. */
class World {
  readonly directoryEvents = new Emitter<PeerDirectoryEvents>(fail)
  readonly transportEvents = new Emitter<TransportEvents>(fail)
  readonly entries = new Map<string, PeerEntry>()
  readonly roundTrips = new Map<string, number>()
  readonly opened: (readonly string[] | undefined)[] = []
  readonly responders: Responders

  constructor() {
    this.responders = new Responders({
      transport: {
        self: { id: 'self', publicKey: new Uint8Array() },
        events: this.transportEvents,
        blame: () => undefined,
        peers: () =>
          [...this.roundTrips].map(([id, roundTripMs]) => ({ id, roundTripMs }) as TransportPeer),
        open: (_peer, _protocol, options) => {
          this.opened.push(options?.addresses)
          return Promise.reject(new SkeinError('ERR_PEER_UNREACHABLE', 'nobody'))
        }
      },
      directory: {
        events: this.directoryEvents,
        get: (id) => this.entries.get(id),
        list: () => [...this.entries.values()]
      },
      host: { serves: () => false, start: () => fail(new Error('not served here')) },
      clock: new ManualClock(),
      random: seededRandom(1),
      logger: silentLogger
    })
    this.responders.start()
  }

  hear(id: string, change: Partial<PeerEntry> = {}): void {
    const entry = { id, state: 'up', connected: true, services: ['s'], addresses: [`/at/${id}`] }
    this.entries.set(id, { ...entry, ...change } as PeerEntry)
    this.directoryEvents.emit('heard', this.entries.get(id) as PeerEntry)
  }

  /** Who is picked in many draws. */
  picked(): Set<string | undefined> {
    const draws = Array.from({ length: 50 }, () => this.responders.pick('s', new Set())?.peer)
    return new Set(draws)
  }
}

describe('responders', () => {
  it('are neighbours while one serves it, then others, and nobody once they are gone', () => {
    const world = new World()
    expect(world.picked()).toEqual(new Set([undefined]))
    world.hear('far', { connected: false })
    expect(world.picked()).toEqual(new Set(['far']))
    world.hear('near')
    expect(world.picked()).toEqual(new Set(['near']))
    world.hear('near', { state: 'suspect' })
    expect(world.picked()).toEqual(new Set(['far']))
    world.hear('far', { services: [] })
    expect(world.picked()).toEqual(new Set([undefined]))
  })

  it('change with the link, though presence has said nothing new', () => {
    const world = new World()
    world.hear('b', { connected: false })
    world.hear('c')
    const entry = world.entries.get('c') as PeerEntry
    world.entries.set('c', { ...entry, connected: false, state: 'suspect' })
    world.transportEvents.emit('peer:down', { peer: 'c' })
    expect(world.picked()).toEqual(new Set(['b']))
  })

  it('are taken by what is under way first, then by distance', () => {
    const world = new World()
    world.hear('close')
    world.hear('distant')
    world.roundTrips.set('close', 1).set('distant', 80)
    expect(world.picked()).toEqual(new Set(['close']))
    const call = {
      service: 's',
      content: { payload: new Uint8Array(), contentType: undefined, headers: undefined },
      timeoutMs: 1000,
      window: 0
    }
    const nobody = { onReply() {}, onEnd() {}, onFailure() {}, onOver() {} }
    const active = world.responders.pick('s', new Set())?.start(call, nobody)
    expect(world.picked()).toEqual(new Set(['distant']))
    active?.cancel()
    expect(world.picked()).toEqual(new Set(['close']))
  })

  it('are dialled where they say they are, and whom nobody reaches has seen nothing', async () => {
    const world = new World()
    world.hear('far', { connected: false })
    const target = world.responders.pick('s', new Set())
    const failure = await new Promise<CallFailure>((resolve) => {
      const content = { payload: new Uint8Array(), contentType: undefined, headers: undefined }
      target?.start(
        { service: 's', content, timeoutMs: 1000, window: 0 },
        { onReply() {}, onEnd() {}, onFailure: resolve, onOver() {} }
      )
    })
    expect(failure).toMatchObject({ refused: true, error: { code: 'ERR_PEER_UNREACHABLE' } })
    expect(world.opened).toEqual([['/at/far']])
    expect(target?.inFlight).toBe(0)
  })
})
