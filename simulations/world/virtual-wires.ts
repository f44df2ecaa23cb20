import type { Random } from '../../src/core/random.ts'
import type { PeerId } from '../../src/mesh/contract.ts'
import type { DialResult } from '../../src/mesh/dialler.ts'
import type { NodeClock } from './contract.ts'
import type { Heads } from './heads.ts'
import type { VirtualTransport } from './virtual-transport.ts'

/** What a transport asks of its network. */
export interface VirtualWires {
  /** Throws ERR_IDENTITY_IN_USE. */
  add(transport: VirtualTransport): void
  remove(transport: VirtualTransport): void
  /** Connects the two before it resolves. Never rejects. */
  dial(from: VirtualTransport, address: string, timeoutMs: number): Promise<DialResult>
  running(peer: PeerId): VirtualTransport | undefined
  readonly heads: Heads
  /** A number that no other life of this world has, nor had. */
  nextIndex(): number
  /** Identity of a frame. */
  readonly idOf: (bytes: Uint8Array, headLength: number) => string
}

export interface VirtualTransportComponents {
  readonly clock: NodeClock
  readonly random: Random
  readonly wires: VirtualWires
}

export interface VirtualTransportInit {
  readonly name: string
  readonly privateKey: Uint8Array
  /** Dials until it has so many. */
  readonly neighbours: number
  /** Takes calls until it has so many. */
  readonly neighboursMost: number
  /** Announcements of its neighbours go no further. */
  readonly keepsAnnouncements: boolean
}
