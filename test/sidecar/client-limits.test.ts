import { EventEmitter } from 'node:events'
import type { Server } from 'node:http'
import { describe, expect, it, vi } from 'vitest'
import { LIMITS } from '../../src/core/limits.ts'
import { LOCAL, clientOf } from '../../src/sidecar/access/client-address.ts'
import { Connections } from '../../src/sidecar/access/connections.ts'
import { connectionLimit } from '../../src/sidecar/access/open-files.ts'
import { WrongTokens } from '../../src/sidecar/access/wrong-tokens.ts'

describe('sidecar client limits', () => {
  it.each([
    ['127.0.0.1', LOCAL],
    ['127.8.9.1', LOCAL],
    ['::1', LOCAL],
    ['::ffff:127.0.0.1', LOCAL],
    [undefined, LOCAL],
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:0db8:0001:0002::1', '2001:db8:1:2::/64'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64']
  ])('client: %s is %s', (address, client) => {
    expect(clientOf(address)).toBe(client)
  })

  it('connections: no client takes them all from others, and this machine may have most', () => {
    const server = new EventEmitter()
    const refusals: string[] = []
    const connections = new Connections(server as unknown as Server, {
      most: 16,
      onRefused: (reason, client) => refusals.push(`${reason} ${client}`)
    })
    const dial = (remoteAddress: string): EventEmitter & { destroy: ReturnType<typeof vi.fn> } => {
      const socket = Object.assign(new EventEmitter(), {
        remoteAddress,
        destroy: vi.fn<() => void>()
      })
      server.emit('connection', socket)
      return socket
    }
    const taken = (address: string, tries: number): number =>
      Array.from({ length: tries }, () => dial(address)).filter(
        ({ destroy }) => destroy.mock.calls.length === 0
      ).length
    expect(taken('192.0.2.1', 10)).toBe(4)
    expect(new Set(refusals)).toEqual(new Set(['client 192.0.2.1']))
    expect(taken('127.0.0.1', 20)).toBe(12)
    expect(taken('192.0.2.2', 2)).toBe(0)
    expect(refusals.at(-1)).toBe('connections 192.0.2.2')
    expect(connections.open).toBe(16)
  })

  it('connections: who hangs up makes room', () => {
    const server = new EventEmitter()
    const onRefused = vi.fn<() => void>()
    const connections = new Connections(server as unknown as Server, { most: 4, onRefused })
    for (let n = 0; n < 10; n++) {
      const socket = Object.assign(new EventEmitter(), {
        remoteAddress: '192.0.2.1',
        destroy: vi.fn<() => void>()
      })
      server.emit('connection', socket)
      socket.emit('close')
    }
    expect(onRefused).not.toHaveBeenCalled()
    expect(connections.open).toBe(0)
  })

  it('connections: there are as many as there are files for', () => {
    expect(connectionLimit(1_000_000)).toBe(LIMITS.httpConnections)
    expect(connectionLimit(Number.POSITIVE_INFINITY)).toBe(LIMITS.httpConnections)
    expect(connectionLimit(12_000)).toBe(10_976)
    expect(connectionLimit(1024)).toBe(512)
    expect(connectionLimit()).toBeGreaterThan(0)
  })
})

describe('sidecar wrong tokens', () => {
  const tries = (tokens: WrongTokens, client: string, count: number): number => {
    let refused = 0
    for (let n = 0; n < count; n++) {
      try {
        tokens.assertFew(client)
        tokens.wrong(client)
      } catch (error) {
        expect(error).toMatchObject({ code: 'ERR_BUSY', status: 429 })
        refused++
      }
    }
    return refused
  }

  it('tokens: who tries many wrong ones is refused with a right one, too, for a while', () => {
    let now = 0
    const tokens = new WrongTokens(() => now)
    expect(tries(tokens, '192.0.2.1', 1000)).toBe(1000 - LIMITS.wrongTokens)
    expect(() => tokens.assertFew('192.0.2.1')).toThrow('Too many')
    expect(() => tokens.assertFew('192.0.2.2')).not.toThrow()
    now += 60_000 / LIMITS.wrongTokens
    expect(() => tokens.assertFew('192.0.2.1')).not.toThrow()
    expect(tries(tokens, '192.0.2.1', 10)).toBe(9)
  })

  it('tokens: nobody is shut out by somebody else behind the same address, or on this machine', () => {
    let now = 0
    const tokens = new WrongTokens(() => now)
    tokens.right('192.0.2.1')
    expect(tries(tokens, '192.0.2.1', 100)).toBe(100 - LIMITS.wrongTokens)
    expect(() => tokens.assertFew('192.0.2.1')).not.toThrow()
    now += LIMITS.tokenKnownMs
    tries(tokens, '192.0.2.1', 100)
    expect(() => tokens.assertFew('192.0.2.1')).toThrow('Too many')
    expect(tries(tokens, LOCAL, 100)).toBe(100 - LIMITS.wrongTokens)
    expect(() => tokens.assertFew(LOCAL)).not.toThrow()
  })

  it('tokens: no more clients are remembered than fit', () => {
    const tokens = new WrongTokens(() => 0)
    expect(tries(tokens, 'first', LIMITS.wrongTokens + 1)).toBe(1)
    for (let n = 0; n < LIMITS.tokenClients; n++) tokens.right(String(n))
    expect(() => tokens.assertFew('first')).not.toThrow()
  })
})
