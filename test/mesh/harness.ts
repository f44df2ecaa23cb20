import { connect, createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'

import { systemClock } from '../../src/core/clock.ts'
import { silentLogger } from '../../src/core/logger.ts'
import { seededRandom, systemRandom } from '../../src/core/random.ts'
import type { Frame, PeerId, ReceivedFrame, Transport, Verdict } from '../../src/mesh/contract.ts'
import type { RememberedPeer } from '../../src/mesh/dialler.ts'
import type { AddressBook } from '../../src/mesh/discovery.ts'
import { createLibp2pTransport } from '../../src/mesh/libp2p-transport.ts'
import type { Libp2pTransportInit } from '../../src/mesh/libp2p-transport.ts'
import { createMemoryNetwork } from '../../src/mesh/memory-network.ts'

/** Waits until `holds` says so; fails after `ms`. */
export async function until(what: string, holds: () => boolean, ms = 8000): Promise<void> {
  const end = performance.now() + ms
  while (!holds()) {
    if (performance.now() > end) throw new Error(`not in ${ms} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

let seeds = 0
/** A seed that no other node of this test file has. */
export function seed(): Uint8Array {
  return seededRandom(++seeds).bytes(32)
}

/** A frame of `length` bytes whose head tells it from all others. */
export function frame(number: number, length = 200, headLength = 64): Frame {
  const bytes = new Uint8Array(length).fill(number & 0xff)
  new DataView(bytes.buffer).setUint32(0, number)
  return { bytes, headLength }
}

export const numberOf = (bytes: Uint8Array): number =>
  new DataView(bytes.buffer, bytes.byteOffset).getUint32(0)

/** Whole frames that a transport was handed, by channel, in order. */
export interface Inbox {
  readonly frames: ReceivedFrame[]
  readonly heads: ReceivedFrame[]
  numbers(channel: string): number[]
}

export function listen(
  transport: Transport,
  judge: (frame: ReceivedFrame) => Verdict | Promise<Verdict> = () => 'accept'
): Inbox {
  const inbox: Inbox = {
    frames: [],
    heads: [],
    numbers: (channel) =>
      inbox.frames.filter((got) => got.channel === channel).map(({ bytes }) => numberOf(bytes))
  }
  transport.onFrame((received) => {
    ;(received.complete ? inbox.frames : inbox.heads).push(received)
    return judge(received)
  })
  return inbox
}

/** An address book in memory. */
export function memoryBook(
  peers: readonly RememberedPeer[] = []
): AddressBook & { peers: readonly RememberedPeer[] } {
  const book = {
    peers,
    load: () => Promise.resolve(book.peers),
    save: (all: readonly RememberedPeer[]) => {
      book.peers = all
      return Promise.resolve()
    }
  }
  return book
}

/** A TCP proxy that can be cut (connections refused) or made deaf (connections open, nothing passes). */
export class Proxy {
  target: number | undefined
  #server: Server
  #mode: 'open' | 'cut' | 'deaf' = 'open'
  readonly #sockets = new Set<Socket>()
  #port = 0

  constructor() {
    this.#server = this.#create()
  }

  get port(): number {
    return this.#port
  }

  async start(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(this.#port, '127.0.0.1', resolve))
    this.#port = (this.#server.address() as AddressInfo).port
  }

  cut(): void {
    this.#mode = 'cut'
    this.#drop()
  }

  deafen(): void {
    this.#mode = 'deaf'
  }

  /** Connections that were made deaf stay so: bytes are missing in them. */
  heal(): void {
    this.#mode = 'open'
  }

  stop(): void {
    this.#drop()
    this.#server.close()
  }

  #drop(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  #create(): Server {
    return createServer((near) => {
      if (this.#mode === 'cut' || this.target === undefined) {
        near.destroy()
        return
      }
      const far = connect(this.target, '127.0.0.1')
      for (const [from, to] of [
        [near, far],
        [far, near]
      ] as const) {
        this.#sockets.add(from)
        let deaf = false
        from.on('data', (bytes) => {
          deaf ||= this.#mode === 'deaf'
          if (!deaf) to.write(bytes)
        })
        from.on('error', () => to.destroy())
        from.on('close', () => {
          this.#sockets.delete(from)
          to.destroy()
        })
      }
    })
  }
}

/** What the suite needs of an implementation. */
export interface Net {
  /** Started transports, linked as said: pairs of positions, or all with all. */
  create(count: number, links?: ReadonlyArray<readonly [number, number]>): Promise<Transport[]>
  /** Cuts all links of the network. */
  cut(): void
  heal(): void
  stop(): Promise<void>
}

export function memoryNet(): Net {
  const network = createMemoryNetwork({ clock: systemClock })
  let ids: PeerId[] = []
  let all: Transport[] = []
  const pairs = (): Array<[PeerId, PeerId]> =>
    ids.flatMap((a, i) => ids.slice(i + 1).map((b): [PeerId, PeerId] => [a, b]))
  return {
    async create(count, links) {
      all = Array.from({ length: count }, () => network.transport({ privateKey: seed() }))
      ids = all.map(({ self }) => self.id)
      for (const [a, b] of pairs()) {
        const [i, j] = [ids.indexOf(a), ids.indexOf(b)]
        const linked = links?.some(([x, y]) => (x === i && y === j) || (x === j && y === i)) ?? true
        if (!linked) network.cut(a, b)
      }
      for (const transport of all) await transport.start()
      return all
    },
    cut: () => pairs().forEach(([a, b]) => network.cut(a, b)),
    heal: () => pairs().forEach(([a, b]) => network.heal(a, b)),
    stop: async () => void (await Promise.all(all.map((transport) => transport.stop())))
  }
}

/** A libp2p transport on loopback with a port of its own; not started. */
export function libp2p(
  init: Partial<Libp2pTransportInit> = {},
  addressBook: AddressBook = memoryBook()
): Transport {
  return createLibp2pTransport(
    { clock: systemClock, random: systemRandom, logger: silentLogger, addressBook },
    {
      privateKey: seed(),
      mesh: 'test',
      listen: ['/ip4/127.0.0.1/tcp/0'],
      mdns: false,
      exchange: false,
      ...init
    }
  )
}

export const portOf = (address: string): number => Number(/\/tcp\/(\d+)/.exec(address)?.[1])

/** A node that can be reached through a proxy only. */
export async function behindProxy(
  init: Partial<Libp2pTransportInit> = {}
): Promise<{ transport: Transport; proxy: Proxy; address: string }> {
  const proxy = new Proxy()
  await proxy.start()
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  proxy.target = port
  const address = `/ip4/127.0.0.1/tcp/${proxy.port}`
  const transport = libp2p({
    listen: [`/ip4/127.0.0.1/tcp/${port}`],
    announce: [address],
    ...init
  })
  await transport.start()
  return { transport, proxy, address: `${address}/p2p/${transport.self.id}` }
}

export function libp2pNet(): Net {
  let all: Transport[] = []
  let proxies: Proxy[] = []
  return {
    async create(count, links) {
      const wanted =
        links ??
        Array.from({ length: count }, (_, i) => i).flatMap((i) =>
          Array.from({ length: i }, (__, j): [number, number] => [i, j])
        )
      const nodes = []
      for (let i = 0; i < count; i++) nodes.push(await behindProxy())
      all = nodes.map(({ transport }) => transport)
      proxies = nodes.map(({ proxy }) => proxy)
      for (const [i, j] of wanted) all[i]?.dial((nodes[j] as { address: string }).address)
      return all
    },
    cut: () => proxies.forEach((proxy) => proxy.cut()),
    heal: () => proxies.forEach((proxy) => proxy.heal()),
    async stop() {
      await Promise.all(all.map((transport) => transport.stop()))
      for (const proxy of proxies) proxy.stop()
    }
  }
}
