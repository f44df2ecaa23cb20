import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { alertsOf } from '../../src/sidecar/dashboard/alerts.ts'
import { ago, bytes, duration } from '../../src/sidecar/dashboard/format.ts'
import { graphOf, ringOf } from '../../src/sidecar/dashboard/mesh-graph.ts'
import type { MeshNode, Peer, Snapshot, Subscriber } from '../../src/sidecar/dashboard/model.ts'
import { messagesOf, rateOf } from '../../src/sidecar/dashboard/rates.ts'
import { sampleOf } from '../../src/sidecar/dashboard/sample.ts'

const AT = Date.parse('2030-01-01T12:00:00Z')
const before = (ms: number): string => new Date(AT - ms).toISOString()

function peer(peerId: string, change: Partial<Peer> = {}): Peer {
  const nothing = { addresses: [], channels: [], services: [] }
  const own = { name: peerId, state: 'up' as const, lastSeen: before(0), custodian: true }
  return { ...nothing, ...own, peerId, connected: true, roundTripMs: 1, ...change } as Peer
}

function subscriber(change: Partial<Subscriber> = {}): Subscriber {
  const own = { peerId: 'ben', node: 'ben', subscription: 'billing', filter: 'a/#', lag: 0 }
  return { ...own, state: 'up', lastSeen: before(0), createdAt: before(9e9), ...change }
}

interface Change {
  readonly at?: number
  readonly status?: object
  readonly store?: object
  readonly rest?: Partial<Snapshot>
}

/** A node where all is well, but for what is changed. */
function snapshot({ at = AT, rest, status, store }: Change = {}): Snapshot {
  const peers = [peer('ben'), peer('cleo')]
  const healthy = { condition: 'open', epoch: 'e', bytes: 1, records: 1 }
  return {
    at,
    peers,
    topics: [],
    subscriptions: [],
    groups: [],
    outbox: [],
    deadLetters: [],
    topology: [],
    loopDelay: 0.01,
    status: {
      peerId: 'anna',
      name: 'anna',
      ready: true,
      networkKeyId: 'key',
      peers: { connected: 2, known: 2 },
      store: { ...healthy, freeBytes: 1e12, reserveBytes: 1e9, ...store },
      subscribers: [],
      ...status
    },
    ...rest
  } as unknown as Snapshot
}

/** What is said after the last of some looks. */
const said = (...looks: [...Snapshot[], Snapshot]): string[] =>
  alertsOf(looks.map(sampleOf), looks.at(-1) as Snapshot).map(
    ({ severity, text }) => `${severity}: ${text}`
  )

describe('dashboard: what needs attention', () => {
  it.each([
    ['nothing', {}, []],
    ['a full disk', { store: { condition: 'full' } }, ['critical: The disk is full']],
    [
      'a disk that is nearly full',
      { store: { freeBytes: 1.9e9 } },
      ['warning: The disk is nearly full']
    ],
    ['a store that is gone', { status: { ready: false } }, ['critical: The node is not ready']],
    [
      'a peer that is down since a minute',
      { rest: { peers: [peer('ben', { state: 'down', lastSeen: before(60_000) })] } },
      ['warning: ben is down']
    ],
    [
      'a peer that is down since two days',
      { rest: { peers: [peer('ben', { state: 'down', lastSeen: before(2 * 86_400_000) })] } },
      []
    ],
    [
      'a subscriber that is off',
      { status: { subscribers: [subscriber({ state: 'down', lag: 1 })] } },
      ['warning: billing at ben is off, with 1 message to come']
    ],
    [
      'a subscriber that is off and has all',
      { status: { subscribers: [subscriber({ state: 'down' })] } },
      []
    ],
    [
      'a node with too much to do',
      { rest: { loopDelay: 0.5 } },
      ['warning: The node is overloaded']
    ],
    [
      'a webhook that fails',
      {
        rest: {
          subscriptions: [
            { durable: 'audit', gaps: [], webhook: { state: 'failing', since: before(9000) } }
          ] as never
        }
      },
      ['warning: The webhook of audit fails']
    ],
    ['an open mesh', { status: { networkKeyId: undefined } }, ['notice: This is an open mesh']],
    [
      'no neighbour',
      { status: { peers: { connected: 0, known: 2 } } },
      ['warning: No peer is connected']
    ]
  ])('%s', (_, change, expected) => {
    expect(said(snapshot(change))).toEqual(expected)
  })

  it('many of a kind are counted', () => {
    const peers = ['b', 'c', 'd', 'e'].map((id) => peer(id, { state: 'down' }))
    expect(said(snapshot({ rest: { peers } }))).toEqual(['warning: 4 peers are down'])
  })

  it('a lag that grows for half a minute, and no other', () => {
    const lags = (...values: number[]) =>
      values.map((lag, index) =>
        snapshot({
          at: AT + index * 10_000,
          status: { subscribers: [subscriber({ lag })] }
        })
      ) as [Snapshot]
    expect(said(...lags(100, 150, 200))).toEqual([
      'warning: billing at ben falls behind: 200 messages'
    ])
    expect(said(...lags(100, 150, 120))).toEqual([])
    expect(said(...lags(200, 200, 200))).toEqual([])
    expect(said(...lags(10, 20, 30))).toEqual([])
    expect(said(...lags(100))).toEqual([])
  })
})

describe('dashboard: the mesh', () => {
  const told = (peerId: string, connectedTo: string[] | undefined): MeshNode =>
    ({ peerId, state: 'up', connectedTo }) as unknown as MeshNode

  it('has each connection once, and none of a node that is down', () => {
    const peers = [peer('ben'), peer('cleo'), peer('dora', { state: 'down', connected: false })]
    const topology = [
      told('anna', ['ben', 'cleo', 'dora']),
      told('ben', ['anna', 'cleo', 'dora']),
      told('cleo', ['anna', 'ben', 'far']),
      told('far', undefined)
    ]
    const { edges, nodes } = graphOf(snapshot({ rest: { peers, topology } }))
    expect(nodes.map(({ id, state }) => `${id} ${state}`)).toEqual([
      'anna up',
      'ben up',
      'cleo up',
      'dora down',
      'far up'
    ])
    expect(edges.map((edge) => edge.join(' ')).toSorted()).toEqual([
      'anna ben',
      'anna cleo',
      'ben cleo',
      'cleo far'
    ])
  })

  it('is drawn within its frame, with no two nodes in one place', () => {
    for (const count of [1, 2, 3, 12, 64]) {
      for (const width of [300, 700]) {
        const places = ringOf(count, width, 300)
        expect(places).toHaveLength(count)
        expect(places.every(({ x, y }) => x >= 0 && x <= width && y >= 0 && y <= 300)).toBe(true)
        expect(new Set(places.map(({ x, y }) => `${x.toFixed(1)} ${y.toFixed(1)}`)).size).toBe(
          count
        )
      }
    }
  })
})

describe('dashboard: figures', () => {
  it('a rate is that of the last ten seconds; none after one look', () => {
    const looks = [0, 100, 120, 160, 200, 240].map((next, index) =>
      sampleOf(
        snapshot({
          at: AT + index * 5000,
          rest: { topics: [{ channel: 'a', journal: { first: 0, next } }] as never }
        })
      )
    )
    expect(rateOf(looks.slice(0, 1), messagesOf('a'))).toBeUndefined()
    expect(rateOf(looks, messagesOf('a'))).toBe(8)
    expect(rateOf(looks, messagesOf('b'))).toBe(0)
  })

  it('times and sizes are short', () => {
    expect([ago(0), ago(59_000), ago(3_700_000), ago(2 * 86_400_000)]).toEqual([
      'now',
      '59 s',
      '1 h',
      '2 d'
    ])
    expect([duration(0), duration(61_000), duration(90_000_000)]).toEqual([
      '0 s',
      '1 min 1 s',
      '1 d 1 h'
    ])
    expect([bytes(0), bytes(1536), bytes(20 * 1024 ** 3)]).toEqual(['0 B', '1.5 KiB', '20 GiB'])
  })
})

describe('dashboard: colours', () => {
  const css = readFileSync(
    new URL('../../src/sidecar/dashboard/style.css', import.meta.url),
    'utf8'
  )
  const [light = '', dark = ''] = [...css.matchAll(/:root \{[^}]*\}/g)].map(([block]) => block)

  it.each([
    ['light', light],
    ['dark', dark]
  ])('text has a contrast of 4.5 to 1 at least on whatever it stands on, %s', (_, block) => {
    const colours = new Map(
      [...block.matchAll(/--([\w-]+): (#[0-9a-f]{6});/g)].map(([, name = '', value = '']) => [
        name,
        value
      ])
    )
    const grounds = ['ground', 'surface', 'raised', 'warning-soft', 'critical-soft']
    const pairs = [
      ...['text', 'muted'].flatMap((text) => grounds.map((ground) => [text, ground] as const)),
      ...['accent', 'fine', 'warning', 'critical'].map((text) => [text, 'surface'] as const),
      ['warning', 'warning-soft'] as const,
      ['critical', 'warning-soft'] as const,
      ['critical', 'critical-soft'] as const,
      ['surface', 'accent'] as const
    ]
    const poor = pairs.filter(
      ([text, ground]) => contrast(colours.get(text) ?? '', colours.get(ground) ?? '') < 4.5
    )
    expect(poor).toEqual([])
  })
})

/** WCAG 2.1, 1.4.3. */
function contrast(one: string, other: string): number {
  const [high = 0, low = 0] = [luminance(one), luminance(other)].toSorted((a, b) => b - a)
  return (high + 0.05) / (low + 0.05)
}

function luminance(colour: string): number {
  const [r = 0, g = 0, b = 0] = [1, 3, 5].map((at) => {
    const part = Number.parseInt(colour.slice(at, at + 2), 16) / 255
    return part <= 0.040_45 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4
  })
  return 0.2126 * r + 0.7152 * g + 0.0722 * b
}
