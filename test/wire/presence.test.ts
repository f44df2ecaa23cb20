import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LIMITS } from '../../src/core/limits.ts'
import {
  type Announcement,
  decodeAnnouncement,
  encodeAnnouncement
} from '../../src/wire/presence.ts'

const plain: Announcement = {
  name: 'orders-1',
  session: '018f0000000000a1',
  intervalMs: 2000,
  custodian: true,
  channels: ['orders', '$dlq/x'],
  services: ['price'],
  groups: ['billing'],
  subscriptions: [{ name: 'audit', lag: 7 }],
  addresses: ['/ip4/10.0.0.1/tcp/4001/p2p/12D3KooWx']
}

const reencoded = (value: unknown): Announcement | undefined =>
  decodeAnnouncement(Buffer.from(JSON.stringify(value)))

describe('presence: announcement', () => {
  it('is read as it was written, with and without a goodbye', () => {
    expect(decodeAnnouncement(encodeAnnouncement(plain))).toEqual(plain)
    const bye = { ...plain, bye: true as const }
    expect(decodeAnnouncement(encodeAnnouncement(bye))).toEqual(bye)
  })

  it('leaves out fields that a later version may have', () => {
    expect(reencoded({ ...plain, more: [1] })).toEqual(plain)
  })

  it.each<[string, object]>([
    ['a name with a line break', { name: 'a\nb' }],
    ['a name that is too long', { name: 'x'.repeat(65) }],
    ['no name', { name: undefined }],
    ['a session that is none', { session: '018F0000000000A1' }],
    ['an interval of 0', { intervalMs: 0 }],
    ['an interval that keeps it up for hours', { intervalMs: 3_600_000 }],
    ['an interval that is text', { intervalMs: '2000' }],
    ['a channel with a wildcard', { channels: ['a/+'] }],
    ['a channel with two levels', { channels: ['a/b'] }],
    ['too many channels', { channels: Array.from({ length: 65 }, (_, i) => `c${i}`) }],
    ['a lag below 0', { subscriptions: [{ name: 'a', lag: -1 }] }],
    ['a lag that is no whole number', { subscriptions: [{ name: 'a', lag: 0.5 }] }],
    ['too many subscriptions', { subscriptions: Array(257).fill({ name: 'a', lag: 1 }) }],
    ['an address with a blank', { addresses: ['/ip4/1.2.3.4 /tcp/1'] }],
    ['too many addresses', { addresses: Array(9).fill('/ip4/1.2.3.4') }],
    ['a service with an escape sequence', { services: ['\u001b[2J'] }],
    ['a goodbye that is not true', { bye: false }]
  ])('refuses %s', (_, change) => {
    expect(reencoded({ ...plain, ...change })).toBeUndefined()
  })

  it('refuses what is too large before it reads it, and what is no JSON', () => {
    const large = Buffer.from(JSON.stringify({ ...plain, more: 'x'.repeat(LIMITS.presenceBytes) }))
    expect(decodeAnnouncement(large)).toBeUndefined()
    expect(decodeAnnouncement(Buffer.from('{'))).toBeUndefined()
    expect(decodeAnnouncement(new Uint8Array(0))).toBeUndefined()
    expect(reencoded(null)).toBeUndefined()
    expect(reencoded([])).toBeUndefined()
  })

  it('cuts what is too long, and keeps the subscriptions that lag most', () => {
    const said = {
      ...plain,
      channels: Array.from({ length: 100 }, (_, i) => `c${i}`),
      subscriptions: Array.from({ length: 300 }, (_, i) => ({ name: `s${i}`, lag: i }))
    }
    const read = decodeAnnouncement(encodeAnnouncement(said))
    expect(read?.channels).toHaveLength(LIMITS.presenceNames)
    expect(read?.subscriptions).toHaveLength(LIMITS.presenceSubscriptions)
    expect(read?.subscriptions[0]).toEqual({ name: 's299', lag: 299 })
  })

  it('fits its limit whatever a node has, and can be read', () => {
    const text = fc
      .string({ minLength: 1, maxLength: 60 })
      .map((s) => Buffer.from(s).toString('hex'))
    const said = fc.record({
      channels: fc.array(text, { maxLength: 70 }),
      subscriptions: fc.array(fc.record({ name: text.map((s) => s.slice(0, 64)), lag: fc.nat() }), {
        maxLength: 300
      })
    })
    fc.assert(
      fc.property(said, (some) => {
        const bytes = encodeAnnouncement({ ...plain, ...some })
        expect(bytes.length).toBeLessThanOrEqual(LIMITS.presenceBytes)
        expect(decodeAnnouncement(bytes)?.name).toBe('orders-1')
      }),
      { numRuns: 50 }
    )
    const most = {
      ...plain,
      channels: Array.from({ length: 64 }, (_, i) => `${i}`.padEnd(200, 'x')),
      subscriptions: Array.from({ length: 256 }, (_, i) => ({
        name: `${i}`.padEnd(64, 'x'),
        lag: i
      }))
    }
    const read = decodeAnnouncement(encodeAnnouncement(most))
    expect(read?.channels).toHaveLength(64)
    expect(read?.subscriptions[0]?.lag).toBe(255)
  })
})
