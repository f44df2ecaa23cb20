import type { Topology } from '../services/topology.ts'
import type { PeerStatus, SkeinNode, TopologyNode } from './contract.ts'

/** What this node knows of its peers, and what they told of their connections, together. */
export function topologyOf(
  self: Pick<SkeinNode, 'name' | 'peerId'>,
  peers: readonly PeerStatus[],
  connections: Topology
): TopologyNode[] {
  const own: TopologyNode = {
    peerId: self.peerId,
    name: self.name,
    state: 'up',
    lastSeen: new Date(),
    downSince: undefined,
    connectedTo: connections.get(self.peerId)
  }
  const known = new Map(peers.map((peer) => [peer.peerId, peer]))
  const others = new Set([...known.keys(), ...[...connections.values()].flat()])
  others.delete(self.peerId)
  return [own, ...[...others].map((id) => nodeOf(id, known.get(id), connections.get(id)))]
}

/** Who is connected to a neighbour is up, whether this node has heard of it or not. */
function nodeOf(
  peerId: string,
  peer: PeerStatus | undefined,
  connectedTo: readonly string[] | undefined
): TopologyNode {
  const { lastSeen, name, since, state = 'up' } = peer ?? {}
  return {
    peerId,
    name,
    state,
    lastSeen,
    downSince: state === 'down' ? since : undefined,
    connectedTo: state === 'down' ? undefined : connectedTo
  }
}
