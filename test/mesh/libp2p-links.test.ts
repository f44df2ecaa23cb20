import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'

import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import type { Libp2p } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { noise } from '@chainsafe/libp2p-noise'
import { afterEach, describe, expect, it } from 'vitest'

import type { Transport, Verdict } from '../../src/mesh/contract.ts'
import { silentLogger } from '../../src/core/logger.ts'
import { ChannelGossip } from '../../src/mesh/gossip.ts'
import { PUSH_PROTOCOL } from '../../src/mesh/neighbours.ts'
import { encodeControl } from '../../src/mesh/push-codec.ts'
import { createHost } from '../../src/mesh/libp2p-host.ts'
import { networkSecret } from '../../src/mesh/network-key.ts'

import { behindProxy, frame, libp2p, listen, memoryBook, portOf, seed, until } from './harness.ts'

const KEY_A = new Uint8Array(32).fill(1)
const KEY_B = new Uint8Array(32).fill(2)

const closing: Array<() => unknown> = []
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close()
})

async function started(...args: Parameters<typeof libp2p>): Promise<Transport> {
  const transport = libp2p(...args)
  closing.push(() => transport.stop())
  await transport.start()
  return transport
}

async function proxied(
  init: Parameters<typeof behindProxy>[0] = {}
): ReturnType<typeof behindProxy> {
  const node = await behindProxy(init)
  closing.push(() => node.proxy.stop())
  closing.push(() => node.transport.stop())
  return node
}

const addressOf = (transport: Transport): string => transport.addresses()[0] as string
const connected = (a: Transport, b: Transport): boolean =>
  a.peers().some(({ id, connected: up }) => id === b.self.id && up)
const both = (a: Transport, b: Transport): Promise<void> =>
  until('connected', () => connected(a, b) && connected(b, a))

function refusals(transport: Transport): string[] {
  const codes: string[] = []
  transport.events.on('peer:refused', ({ code }) => codes.push(code))
  return codes
}

describe('mesh, network key', () => {
  it('network key: nodes with the same key meet', async () => {
    const a = await started({ networkKey: { current: KEY_A } })
    const b = await started({ networkKey: { current: KEY_A }, join: [addressOf(a)] })
    await both(a, b)
    expect(a.peers()[0]?.addresses).toEqual([addressOf(b)])
  })

  it.each([
    ['another key', { networkKey: { current: KEY_A } }, { networkKey: { current: KEY_B } }],
    ['a key and none', { networkKey: { current: KEY_A } }, {}],
    ['another mesh without a key', { mesh: 'one' }, { mesh: 'two' }],
    [
      'another mesh with the same key',
      { mesh: 'one', networkKey: { current: KEY_A } },
      { mesh: 'two', networkKey: { current: KEY_A } }
    ]
  ])('network key: %s is a typed refusal on both sides', async (_, one, other) => {
    const a = await started(one)
    const b = libp2p({ ...other, join: [addressOf(a)] })
    const [atA, atB] = [refusals(a), refusals(b)]
    closing.push(() => b.stop())
    await b.start()
    await until('both know', () => atA.length > 0 && atB.length > 0)
    expect([...atA, ...atB]).toEqual(
      Array.from({ length: atA.length + atB.length }, () => 'ERR_NETWORK_KEY_MISMATCH')
    )
    expect(connected(a, b) || connected(b, a)).toBe(false)
  })

  it('network key: during a change nodes with old and new key meet', async () => {
    const old = await started({ networkKey: { current: KEY_A } })
    const middle = await started({
      networkKey: { current: KEY_B, previous: KEY_A },
      join: [addressOf(old)]
    })
    const fresh = await started({ networkKey: { current: KEY_B }, join: [addressOf(middle)] })
    await both(old, middle)
    await both(fresh, middle)
    expect(connected(old, fresh)).toBe(false)
  })

  it('network key: a peer that knows the id of the key but not the key gets no further than the handshake', async () => {
    const a = await started({ networkKey: { current: KEY_A } })
    const { keyId } = networkSecret(KEY_A, 'test')
    const outsider = await createLibp2p({
      privateKey: await generateKeyPairFromSeed('Ed25519', seed()),
      transports: [tcp()],
      streamMuxers: [yamux()],
      connectionEncrypters: [
        (components) => Object.assign(noise()(components), { protocol: `/skein-noise/${keyId}` })
      ]
    })
    closing.push(() => outsider.stop())
    await expect(outsider.dial(multiaddr(addressOf(a)))).rejects.toMatchObject({
      name: 'EncryptionFailedError'
    })
    expect(a.peers()).toEqual([])
  })
})

describe('mesh, identity', () => {
  it('identity: a live peer with the own identity is a typed event on both sides', async () => {
    const privateKey = seed()
    const a = await started({ privateKey })
    const address = addressOf(a).replace(/\/p2p\/.*/, '')
    const b = libp2p({ privateKey, join: [address] })
    const [atA, atB] = [refusals(a), refusals(b)]
    closing.push(() => b.stop())
    await b.start()
    await until('both know', () => atA.length > 0 && atB.length > 0)
    expect(atA[0]).toBe('ERR_IDENTITY_IN_USE')
    expect(atB[0]).toBe('ERR_IDENTITY_IN_USE')
  })

  it('identity: the own address in the list of addresses to join is no such peer', async () => {
    const { transport, proxy } = await proxied()
    const codes = refusals(transport)
    // Through the proxy the node cannot know that the address is its own before the handshake.
    const before = transport.stats().dials
    transport.dial(`/ip4/127.0.0.1/tcp/${proxy.port}`)
    transport.dial(`/dns4/localhost/tcp/${proxy.port}`)
    await until('a dial', () => transport.stats().dialFailures > before)
    expect(codes).toEqual([])
  })
})

describe('mesh, links', () => {
  it('links: two nodes that dial each other keep one connection, and streams survive on it', async () => {
    for (let round = 0; round < 3; round++) {
      const [one, other] = [await proxied(), await proxied()]
      const [a, b] = [one.transport, other.transport]
      a.dial(other.address)
      b.dial(one.address)
      await both(a, b)
      const inbox = listen(b)
      a.join('c')
      b.join('c')
      await until('members', () => a.members('c').length === 1 && b.members('c').length === 1)
      const downs: string[] = []
      a.events.on('peer:down', ({ peer }) => downs.push(peer))
      for (let i = 0; i < 150; i++) {
        a.broadcast('c', frame(i))
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
      await until('all', () => new Set(inbox.numbers('c')).size === 150)
      expect(downs).toEqual([])
    }
  })

  it('links: a node that restarts at the same address is met again', async () => {
    const first = await started()
    const privateKey = seed()
    const b = libp2p({ privateKey, join: [addressOf(first)] })
    await b.start()
    await both(first, b)
    const port = portOf(addressOf(b))
    await b.stop()
    await until('down', () => !connected(first, b))
    const again = await started({ privateKey, listen: [`/ip4/127.0.0.1/tcp/${port}`] })
    const from = performance.now()
    await both(first, again)
    expect(performance.now() - from).toBeLessThan(2000)
  })

  it('links: a remembered peer is dialled at start', async () => {
    const a = await started()
    const book = memoryBook()
    const privateKey = seed()
    const b = libp2p({ privateKey, join: [addressOf(a)] }, book)
    await b.start()
    await until('the address is known', () =>
      b.peers().some((peer) => peer.addresses.length > 0 && peer.connected)
    )
    await b.stop()
    expect(book.peers.map(({ id }) => id)).toEqual([a.self.id])
    const again = await started({ privateKey }, book)
    await both(a, again)
  })

  it('links: one address is enough to meet all when peers are exchanged', async () => {
    const a = await started({ exchange: true })
    const others: Transport[] = []
    for (let i = 0; i < 3; i++) others.push(await started({ exchange: true, join: [addressOf(a)] }))
    await until('a full mesh', () =>
      [a, ...others].every((node) => node.peers().filter((peer) => peer.connected).length === 3)
    )
    expect(others.flatMap((node) => node.peers().map(({ id }) => id))).not.toContain('')
  })

  it('links: a stream to a peer that is no neighbour dials it where it is said to be', async () => {
    const [a, b, c] = [await started(), await started(), await started()]
    b.handle('/test/1', (stream) => void stream.close())
    const open = (addresses: readonly string[]): Promise<unknown> =>
      a.open(b.self.id, '/test/1', { addresses })
    for (const nowhere of [[], ['nonsense'], c.addresses(), a.addresses()]) {
      await expect(open(nowhere)).rejects.toMatchObject({ code: 'ERR_PEER_UNREACHABLE' })
    }
    await open(b.addresses())
    await both(a, b)
  })

  it('links: a link that carries nothing is hung up and dialled again', async () => {
    const { transport: a, proxy, address } = await proxied()
    const b = await started({ join: [address] })
    await both(a, b)
    const deaf: string[] = []
    // Whoever notices first hangs up; the other one just sees the link end.
    for (const node of [a, b]) node.events.on('link:deaf', ({ peer }) => deaf.push(peer))
    proxy.deafen()
    const began = performance.now()
    await until('noticed', () => deaf.length > 0, 12_000)
    expect(performance.now() - began).toBeLessThan(9000)
    expect([a.self.id, b.self.id]).toContain(deaf[0])
    await until('down', () => !connected(b, a))
    proxy.heal()
    const healed = performance.now()
    await both(a, b)
    expect(performance.now() - healed).toBeLessThan(2500)
  })

  it('links: round trips are measured', async () => {
    const a = await started()
    const b = await started({ join: [addressOf(a)] })
    await until('a round trip', () => (b.peers()[0]?.roundTripMs ?? -1) > 0)
    expect(b.peers()[0]?.roundTripMs).toBeLessThan(1000)
  })

  it('links: a neighbour that stops reading no longer holds up publishers', async () => {
    const a = await started({ leaveBehindMs: 300 })
    const b = await started({ join: [addressOf(a)] })
    await both(a, b)
    a.join('c')
    b.join('c')
    await until('member', () => a.members('c').length === 1)
    let release: (() => void) | undefined
    const frozen = new Promise<void>((resolve) => (release = resolve))
    let judged = 0
    b.onFrame(async (): Promise<Verdict> => {
      judged++
      await frozen
      return 'accept'
    })
    let i = 0
    let held = false
    while (a.stats().framesDropped === 0) {
      a.broadcast('c', frame(i++, 100_000))
      held ||= a.room('c') !== undefined
      if (i % 20 === 0) await new Promise((resolve) => setImmediate(resolve))
    }
    expect(held).toBe(true)
    await until('it is left behind', () => a.room('c') === undefined)
    release?.()
    await until('it drains', () => a.stats().bufferedBytes === 0 && judged > 20)
    const before = judged
    a.broadcast('c', frame(i, 100))
    await until('it counts again', () => judged > before)
  })
})

/** A bare libp2p node with gossip and without push streams, connected to the target. */
async function raw(
  target: Transport
): Promise<{ libp2p: Libp2p; gossip: ChannelGossip; heads: Uint8Array[] }> {
  const heads: Uint8Array[] = []
  const gossip = new ChannelGossip({
    mesh: 'test',
    logger: silentLogger,
    score: () => 0,
    onHead: (_from, _channel, bytes) => {
      heads.push(bytes)
      return 'accept'
    },
    onMeshShrank: () => undefined
  })
  const host = await createHost({
    seed: seed(),
    listen: [],
    announce: [],
    serviceTag: undefined,
    encrypters: {
      secrets: [networkSecret(undefined, 'test')],
      instance: new Uint8Array(16),
      onRefused: () => undefined,
      onSelf: () => undefined
    },
    gossip,
    logger: silentLogger,
    isOutcast: () => false,
    onFound: () => undefined
  })
  await host.libp2p.handle(PUSH_PROTOCOL, () => undefined)
  closing.push(() => host.libp2p.stop())
  await host.libp2p.start()
  await host.libp2p.dial(multiaddr(addressOf(target)))
  return { libp2p: host.libp2p, gossip, heads }
}

describe('mesh, gossip', () => {
  it('gossip: a member that gossip lost on a live connection is brought back', async () => {
    const a = await started()
    a.join('c')
    const { libp2p: other, gossip, heads } = await raw(a)
    gossip.join('c')
    const [connection] = other.getConnections()
    const push = await connection?.newStream(PUSH_PROTOCOL)
    push?.send(encodeControl.channel(0, true, 'c'))
    let i = 0
    const arrives = async (): Promise<void> => {
      const before = heads.length
      await until('a head', () => {
        a.broadcast('c', frame(++i, 300_000))
        return heads.length > before
      })
    }
    await arrives()
    const lost =
      connection?.streams.filter(({ protocol }) => protocol.startsWith('/meshsub/')) ?? []
    expect(lost.length).toBeGreaterThan(0)
    for (const stream of lost) stream.abort(new Error('test'))
    await new Promise((resolve) => setTimeout(resolve, 50))
    await arrives()
    expect(other.getConnections()[0]?.id).toBe(connection?.id)
  })
})

describe('mesh, hostile neighbours', () => {
  it.each([
    ['an unknown kind', Uint8Array.of(0, 0, 0, 1, 99)],
    ['an empty frame', Uint8Array.of(0, 0, 0, 0)],
    ['a length beyond all bounds', Uint8Array.of(0xff, 0xff, 0xff, 0xff)],
    ['a frame on a channel without a name', Uint8Array.of(0, 0, 0, 9, 0, 0, 7, 0, 0, 0, 1, 1, 1)],
    ['a head longer than its frame', Uint8Array.of(0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 9, 1)],
    ['a list of peers that is none', Uint8Array.of(0, 0, 0, 2, 6, 0x7b)]
  ])('garbage on the push protocol: %s lowers the score and harms nothing', async (_, bytes) => {
    const a = await started()
    const b = await started({ join: [addressOf(a)] })
    await both(a, b)
    const { libp2p: evil } = await raw(a)
    const [connection] = evil.getConnections()
    const stream = await connection?.newStream(PUSH_PROTOCOL)
    stream?.send(bytes)
    await until('blamed', () => a.score(evil.peerId.toString()) < 0)
    expect(connected(a, b)).toBe(true)
    expect(a.score(b.self.id)).toBeGreaterThanOrEqual(0)
  })

  it('garbage on a protocol stream: a frame above the limit ends the stream with ERR_STREAM', async () => {
    const a = await started()
    const ended = new Promise<unknown>((resolve) => {
      a.handle('/skein/test/1.0.0', (stream) => {
        void (async () => {
          try {
            for await (const _ of stream.frames);
            resolve('ended')
          } catch (error) {
            resolve(error)
          }
        })()
      })
    })
    const { libp2p: evil } = await raw(a)
    const stream = await evil.getConnections()[0]?.newStream('/skein/test/1.0.0')
    stream?.send(Uint8Array.of(0xff, 0xff, 0xff, 0x7f))
    expect(await ended).toMatchObject({ code: 'ERR_STREAM' })
  })
})

describe('mesh, options', () => {
  it.each(['listen', 'announce', 'join'])('options: a malformed %s address is named', (option) => {
    expect(() => libp2p({ [option]: ['nonsense'] })).toThrow(
      expect.objectContaining({
        code: 'ERR_OPTIONS',
        message: expect.stringContaining(option) as string
      })
    )
    expect(() => libp2p({ privateKey: new Uint8Array(3) })).toThrow(
      expect.objectContaining({ code: 'ERR_OPTIONS' })
    )
  })

  it('options: a taken port is ERR_LISTEN', async () => {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    closing.push(() => server.close())
    const address = `/ip4/127.0.0.1/tcp/${(server.address() as AddressInfo).port}`
    const transport = libp2p({ listen: [address] })
    await expect(transport.start()).rejects.toMatchObject({
      code: 'ERR_LISTEN',
      details: { listen: [address] }
    })
    await transport.stop()
  })
})
