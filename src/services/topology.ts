import type { Clock } from '../core/clock.ts'
import { isSkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { PeerId, Transport } from '../mesh/contract.ts'
import { isPeerId } from '../wire/peer-id.ts'
import type { Content } from '../wire/request-frames.ts'
import type { ReceivedReply } from './received.ts'
import type { Requester } from './requester.ts'
import type { ServiceHost } from './service-host.ts'

/** The question that every node answers. */
const TOPOLOGY_SERVICE = '$topology'

/** Who is connected to whom: for each node that told it, its connected peers. */
export type Topology = ReadonlyMap<PeerId, readonly PeerId[]>

export interface TopologyInquiryComponents {
  readonly transport: Pick<Transport, 'peers' | 'self'>
  readonly host: Pick<ServiceHost, 'serveBuiltIn'>
  readonly requester: Pick<Requester, 'ask'>
  readonly clock: Clock
}

/** What a node tells: its own connected peers, and those of the neighbours it was asked to ask. */
interface Told {
  readonly connected: readonly PeerId[]
  readonly neighbours: Topology
}

interface Recent {
  readonly at: number
  readonly told: Promise<readonly PeerId[] | undefined>
}

/** Questions of others that are answered at once. */
const CONCURRENCY = 16

/**
 * Asks who is connected to whom, only when somebody wants to know it: neighbours tell their own neighbours, and ask
 * theirs where this node has no connection to them. Asking makes no connection, so that the picture is not of itself.
 */
export class TopologyInquiry {
  readonly #components: TopologyInquiryComponents
  /** What neighbours told lately: however many ask, a neighbour is asked once in that time. */
  readonly #recent = new Map<PeerId, Recent>()

  constructor(components: TopologyInquiryComponents) {
    this.#components = components
    components.host.serveBuiltIn(
      TOPOLOGY_SERVICE,
      async (request) => content(await this.#answer(readQuestion(request.payload))),
      CONCURRENCY
    )
  }

  /** Resolves within LIMITS.topologyMs to what came until then; this node's own part is always there. */
  async ask(): Promise<Topology> {
    const { clock, transport } = this.#components
    const endAt = clock.monotonic() + LIMITS.topologyMs
    const near = this.#connected()
    const topology = new Map<PeerId, readonly PeerId[]>([[transport.self.id, near]])
    await this.#askNear(near, topology, LIMITS.topologyMs / 2)
    const left = endAt - clock.monotonic()
    await Promise.all(
      [...relaysOf(topology, near)].map(async ([neighbour, far]) => {
        const told = await this.#tell(neighbour, far, left)
        for (const [peer, connected] of told?.neighbours ?? []) {
          if (far.includes(peer)) topology.set(peer, connected)
        }
      })
    )
    return topology
  }

  #connected(): PeerId[] {
    const { transport } = this.#components
    return transport
      .peers()
      .filter(({ connected }) => connected)
      .map(({ id }) => id)
  }

  async #answer(asked: readonly PeerId[]): Promise<Told> {
    const connected = this.#connected()
    const neighbours = new Map<PeerId, readonly PeerId[]>()
    const near = asked.filter((peer) => connected.includes(peer))
    // Who asked this node waits for half of the time, and the way back takes some of it.
    await this.#askNear(near, neighbours, LIMITS.topologyMs / 4)
    return { connected, neighbours }
  }

  async #askNear(
    peers: readonly PeerId[],
    found: Map<PeerId, readonly PeerId[]>,
    timeoutMs: number
  ): Promise<void> {
    const now = this.#components.clock.monotonic()
    for (const [peer, { at }] of this.#recent) {
      if (now - at >= LIMITS.topologyMs) this.#recent.delete(peer)
    }
    await Promise.all(
      peers.map(async (peer) => {
        const connected = await this.#toldLately(peer, now, timeoutMs)
        if (connected !== undefined) found.set(peer, connected)
      })
    )
  }

  #toldLately(peer: PeerId, now: number, timeoutMs: number): Recent['told'] {
    const recent = this.#recent.get(peer)
    if (recent !== undefined) return recent.told
    const told = this.#tell(peer, [], timeoutMs).then((answer) => answer?.connected)
    this.#recent.set(peer, { at: now, told })
    return told
  }

  /** Undefined where no answer came that can be read: it is older, busy, or gone. */
  async #tell(peer: PeerId, of: readonly PeerId[], timeoutMs: number): Promise<Told | undefined> {
    try {
      const question = { service: TOPOLOGY_SERVICE, content: content({ of }), timeoutMs }
      return readTold(await this.#components.requester.ask(peer, question))
    } catch (error) {
      if (!isSkeinError(error)) throw error
      return undefined
    }
  }
}

/** Which neighbour to ask for which peers, of those that this node has no connection to: each one once. */
function relaysOf(topology: Topology, near: readonly PeerId[]): ReadonlyMap<PeerId, PeerId[]> {
  const relays = new Map<PeerId, PeerId[]>()
  const seen = new Set(topology.keys())
  for (const neighbour of near) {
    for (const peer of topology.get(neighbour) ?? []) {
      const far = relays.get(neighbour) ?? []
      if (seen.has(peer) || near.includes(peer) || far.length >= LIMITS.topologyRelayed) continue
      seen.add(peer)
      far.push(peer)
      relays.set(neighbour, far)
    }
  }
  return relays
}

function content(value: Told | { readonly of: readonly PeerId[] }): Content {
  const plain =
    'of' in value ? value : { ...value, neighbours: Object.fromEntries(value.neighbours) }
  return { payload: Buffer.from(JSON.stringify(plain)), contentType: undefined, headers: undefined }
}

/** What a question asks for; nothing where it cannot be read. */
function readQuestion(payload: Uint8Array): readonly PeerId[] {
  try {
    const { of } = JSON.parse(Buffer.from(payload).toString()) as { of?: unknown }
    return peerIdsIn(of).slice(0, LIMITS.topologyRelayed)
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof TypeError)) throw error
    return []
  }
}

/** Throws ERR_PAYLOAD. What is no PeerId, or too many of them, is left out. */
function readTold(reply: ReceivedReply): Told {
  const told = reply.json<Record<string, unknown> | null>() ?? {}
  const neighbours = Object.entries(told['neighbours'] ?? {})
    .filter(([peer]) => isPeerId(peer))
    .slice(0, LIMITS.topologyRelayed)
  return {
    connected: peerIdsIn(told['connected']),
    neighbours: new Map(neighbours.map(([peer, ids]) => [peer, peerIdsIn(ids)]))
  }
}

function peerIdsIn(value: unknown): PeerId[] {
  if (!Array.isArray(value)) return []
  return value
    .slice(0, LIMITS.topologyPeers)
    .filter((id): id is PeerId => typeof id === 'string' && isPeerId(id))
}
