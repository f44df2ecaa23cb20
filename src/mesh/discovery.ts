import { networkInterfaces } from 'node:os'

import type { Connection } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'

import { every } from '../core/clock.ts'
import type { Clock, Timer } from '../core/clock.ts'
import type { Logger } from '../core/logger.ts'
import type { Random } from '../core/random.ts'

import type { PeerId } from './contract.ts'
import { Dialler } from './dialler.ts'
import type { DialResult, RememberedPeer } from './dialler.ts'
import { parseAddress } from './libp2p-host.ts'
import type { Host } from './libp2p-host.ts'
import { PEERS, PEERS_MAX } from './neighbourhood.ts'
import type { Neighbours } from './neighbours.ts'
import type { Neighbour } from './neighbours.ts'
import { encodeControl } from './push-codec.ts'
import type { PeerAddresses } from './push-codec.ts'

/** After a start mDNS asks again at these times, ms: two nodes that start together may miss each other's first question. */
const QUERY_AT_MS = [100, 400, 1200, 3000]
const LINK_CHECK_MS = 2000
const SAVE_MS = 10_000

/** Peers remembered across restarts. */
export interface AddressBook {
  load(): Promise<readonly RememberedPeer[]>
  /** Replaces all. */
  save(peers: readonly RememberedPeer[]): Promise<void>
}

export interface DiscoveryComponents {
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
  readonly addressBook: AddressBook
}

export interface DiscoveryInit {
  readonly self: PeerId
  readonly join: readonly string[]
  readonly mdns: boolean
  /** Do neighbours tell each other of peers? */
  readonly exchange: boolean
}

/** Who is out there: remembered peers, given addresses, what mDNS and neighbours tell; and the dialling of them all. */
export class Discovery {
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #addressBook: AddressBook
  readonly #init: DiscoveryInit
  readonly #dialler: Dialler
  readonly #timers: Timer[] = []
  readonly #refusedAt = new Set<string>()
  #host: Host | undefined
  #neighbours: Neighbours | undefined
  #saved = ''
  dials = 0
  dialFailures = 0

  constructor(components: DiscoveryComponents, init: DiscoveryInit) {
    this.#clock = components.clock
    this.#logger = components.logger
    this.#addressBook = components.addressBook
    this.#init = init
    this.#dialler = new Dialler(components, {
      self: init.self,
      dial: (addresses, timeoutMs) => this.#dial(addresses, timeoutMs),
      isConnected: (peer) => this.#neighbours?.all.has(peer) ?? false,
      wants: () => (this.#neighbours?.all.size ?? 0) < PEERS
    })
    for (const address of init.join) this.add('join', address)
  }

  /** Needs a started host. */
  async start(host: Host, neighbours: Neighbours): Promise<void> {
    this.#host = host
    this.#neighbours = neighbours
    for (const peer of await this.#addressBook.load()) this.#dialler.found(peer)
    this.#dialler.start()
    this.#timers.push(every(this.#clock, SAVE_MS, () => this.#save()))
    let interfaces = JSON.stringify(networkInterfaces())
    this.#timers.push(
      every(this.#clock, LINK_CHECK_MS, () => {
        const now = JSON.stringify(networkInterfaces())
        if (now === interfaces) return
        interfaces = now
        this.#dialler.reset()
        if (this.#init.mdns) host.query()
      })
    )
    if (!this.#init.mdns) return
    for (const ms of QUERY_AT_MS) this.#timers.push(this.#clock.after(ms, host.query))
  }

  async stop(): Promise<void> {
    for (const timer of this.#timers) timer.cancel()
    this.#dialler.stop()
    if (this.#host !== undefined) await this.#save()
    this.#host = undefined
  }

  /** Dials the address until stopped. Throws ERR_OPTIONS on a malformed one. */
  add(option: string, address: string): void {
    parseAddress(option, address)
    this.#dialler.addFixed(address)
  }

  known(): readonly RememberedPeer[] {
    return this.#dialler.known()
  }

  found(id: PeerId, addresses: readonly string[]): void {
    if (id === this.#init.self || this.#neighbours?.all.has(id) === true) return
    this.#dialler.found({ id, addresses, lastSeen: this.#clock.now() })
  }

  /** The address led back to this node. */
  isSelf(address: string): void {
    this.#dialler.forget(address)
  }

  /** The peer at the address answered and will not have us. */
  refused(address: string): void {
    if (this.#refusedAt.size < 1024) this.#refusedAt.add(address)
  }

  up(peer: PeerId): void {
    this.#dialler.connected(peer)
  }

  down(peer: PeerId): void {
    this.#dialler.disconnected(peer)
  }

  /** This node and, where peers are exchanged, its other neighbours. */
  introduce(to: PeerId): readonly PeerAddresses[] {
    const peers: PeerAddresses[] = [{ id: this.#init.self, addresses: this.#own() }]
    if (!this.#init.exchange) return peers
    for (const { peer, addresses } of this.#neighbours?.all.values() ?? []) {
      if (peer !== to && addresses.length > 0) peers.push({ id: peer, addresses })
    }
    return peers
  }

  /** A neighbour told of itself and of others. */
  introduced(from: Neighbour, peers: readonly PeerAddresses[]): void {
    const lastSeen = this.#clock.now()
    for (const { id, addresses } of peers.slice(0, PEERS_MAX + 1)) {
      if (!isPeer(id) || !addresses.every(isAddress)) continue
      if (id === from.peer) {
        from.addresses = addresses
        this.#dialler.found({ id, addresses, lastSeen })
        this.#tellOthers(from)
      } else if (this.#init.exchange) {
        this.found(id, addresses)
      }
    }
  }

  #own(): readonly string[] {
    return this.#host?.libp2p.getMultiaddrs().map(String) ?? []
  }

  #tellOthers({ peer, addresses }: Neighbour): void {
    if (!this.#init.exchange) return
    const told = encodeControl.peers([{ id: peer, addresses }])
    for (const other of this.#neighbours?.all.values() ?? []) {
      if (other.peer !== peer) other.link.sendControl(told)
    }
  }

  /** Never rejects: a book that cannot be written costs a slower start, not the node. */
  async #save(): Promise<void> {
    const peers = this.#dialler.known()
    const text = JSON.stringify(peers.map(({ id, addresses }) => [id, addresses]))
    if (text === this.#saved) return
    try {
      await this.#addressBook.save(peers)
      this.#saved = text
    } catch (error) {
      this.#logger.warn({ error }, 'the addresses of peers could not be saved')
    }
  }

  /** Dials a peer once where it is said to be; undefined where it is not. */
  async reach(
    peer: PeerId,
    addresses: readonly string[],
    signal: AbortSignal
  ): Promise<Connection | undefined> {
    const own = new Set(this.#own().map(withoutPeer))
    const places = addresses.filter(isAddress).map(withoutPeer)
    const targets = places.filter((address) => !own.has(address))
    if (this.#host === undefined || targets.length === 0) return undefined
    this.dials++
    try {
      return await this.#host.libp2p.dial(
        targets.map((address) => parseAddress('peers', `${address}/p2p/${peer}`)),
        { signal }
      )
    } catch (error) {
      this.dialFailures++
      this.#logger.debug({ error, peer, addresses }, 'a peer was not reached')
      return undefined
    }
  }

  async #dial(addresses: readonly string[], timeoutMs: number): Promise<DialResult> {
    const own = new Set(this.#own().map(withoutPeer))
    const others = addresses.filter((address) => !own.has(withoutPeer(address)))
    if (this.#host === undefined || others.length === 0) return { peer: undefined, refused: false }
    this.dials++
    try {
      const connection = await this.#host.libp2p.dial(
        others.map((address) => parseAddress('join', address)),
        { signal: AbortSignal.timeout(timeoutMs) }
      )
      return { peer: connection.remotePeer.toString(), refused: false }
    } catch (error) {
      this.dialFailures++
      this.#logger.debug({ error, addresses: others }, 'a dial failed')
      return { peer: undefined, refused: others.some((address) => this.#refusedAt.delete(address)) }
    }
  }
}

function withoutPeer(address: string): string {
  return address.replace(/\/p2p\/[^/]*$/, '')
}

function isAddress(text: string): boolean {
  try {
    parseAddress('peers', text)
    return true
  } catch {
    return false
  }
}

function isPeer(id: string): boolean {
  try {
    peerIdFromString(id)
    return true
  } catch {
    return false
  }
}
