import type { MeshNode, Snapshot } from './model.ts'

export interface GraphNode {
  readonly id: string
  readonly name: string | undefined
  readonly state: MeshNode['state']
  /** When it changed to that state, ms. */
  readonly since: number | undefined
  readonly isSelf: boolean
  /** Undefined where it did not tell. */
  readonly connectedTo: readonly string[] | undefined
  readonly roundTripMs: number | undefined
  readonly services: readonly string[]
}

export interface MeshGraph {
  /** This node first, the others by name. */
  readonly nodes: readonly GraphNode[]
  /** Each once, between nodes that are not down. */
  readonly edges: ReadonlyArray<readonly [string, string]>
}

/** What is known of the mesh: states and own connections of this moment, those of others as they told last. */
export function graphOf({ peers, status, topology }: Snapshot): MeshGraph {
  const told = new Map(topology.map((node) => [node.peerId, node]))
  const own = peers.filter(({ connected }) => connected).map(({ peerId }) => peerId)
  const self: GraphNode = {
    id: status.peerId,
    name: status.name,
    state: 'up',
    since: undefined,
    isSelf: true,
    connectedTo: own,
    roundTripMs: undefined,
    services: []
  }
  const known = peers.map(({ name, peerId, roundTripMs, services, since, state }): GraphNode => ({
    id: peerId,
    name,
    state,
    since: since === undefined ? undefined : Date.parse(since),
    isSelf: false,
    connectedTo: state === 'down' ? undefined : told.get(peerId)?.connectedTo,
    roundTripMs,
    services
  }))
  const ids = new Set([self.id, ...known.map(({ id }) => id)])
  const named = topology.filter(({ peerId }) => !ids.has(peerId)).map(namedOnly)
  const nodes = [self, ...[...known, ...named].toSorted(byName)]
  return { nodes, edges: edgesOf(nodes) }
}

/** A node that only others told of. */
function namedOnly({ connectedTo, name, peerId, state }: MeshNode): GraphNode {
  const nothing = { since: undefined, roundTripMs: undefined, services: [] }
  return { ...nothing, id: peerId, name, state, isSelf: false, connectedTo }
}

function edgesOf(nodes: readonly GraphNode[]): Array<readonly [string, string]> {
  const up = new Set(nodes.filter(({ state }) => state !== 'down').map(({ id }) => id))
  const edges = new Map<string, readonly [string, string]>()
  for (const { connectedTo = [], id, isSelf } of nodes) {
    for (const other of connectedTo) {
      if (!up.has(id) || !up.has(other)) continue
      // What this node does not have now, another one may have told a moment ago.
      const isOwn = nodes[0]?.id === other && !isSelf
      if (isOwn && nodes[0]?.connectedTo?.includes(id) !== true) continue
      const [first, second] = id < other ? [id, other] : [other, id]
      edges.set(`${first} ${second}`, [first, second])
    }
  }
  return [...edges.values()]
}

function byName(one: GraphNode, other: GraphNode): number {
  return (one.name ?? one.id).localeCompare(other.name ?? other.id)
}

export interface Place {
  readonly x: number
  readonly y: number
  /** Where its name stands. */
  readonly side: 'left' | 'right' | 'above' | 'below'
  /** So much lower, px: beside a flat part of the ring, names go outwards. */
  readonly sink: number
}

/** Room for names beside the ring. */
const MARGIN_X = 96
const MARGIN_Y = 44
/** A ring that is much wider than high is hard to read. */
const WIDEST = 1.9

/** Places on a ring, the first on top, or on the left where there are two. */
export function ringOf(count: number, width: number, height: number): readonly Place[] {
  const [x, y] = [width / 2, height / 2]
  if (count === 1) return [{ x, y, side: 'below', sink: 0 }]
  const radiusY = height / 2 - MARGIN_Y
  const radiusX = Math.max(40, Math.min(width / 2 - MARGIN_X, radiusY * WIDEST))
  const from = count === 2 ? Math.PI : -Math.PI / 2
  // A ring of an odd number reaches further up than down.
  const lift = count % 2 === 1 ? (radiusY * (1 - Math.cos(Math.PI / count))) / 2 : 0
  return Array.from({ length: count }, (_, index) => {
    const angle = from + (index * 2 * Math.PI) / count
    const [cos, sin] = [Math.cos(angle), Math.sin(angle)]
    const side = sideOf(cos, sin, count)
    const isBeside = side === 'left' || side === 'right'
    const sink = isBeside && Math.abs(cos) < 0.5 ? 14 * sin : 0
    return { x: x + radiusX * cos, y: y + lift + radiusY * sin, side, sink }
  })
}

/** Only what is right on top or at the bottom has its name there: names of others would touch it. */
function sideOf(cos: number, sin: number, count: number): Place['side'] {
  if (Math.abs(cos) > Math.min(0.25, 2 / count)) return cos > 0 ? 'right' : 'left'
  return sin > 0 ? 'below' : 'above'
}

/** So high that the names of a side do not touch. */
export function heightOf(count: number): number {
  return count === 2 ? 120 : Math.min(560, Math.max(240, 130 + count * 17))
}
