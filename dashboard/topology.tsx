import type { JSX } from 'preact'
import { ago, nameOf } from './format.ts'
import type { Peer, Snapshot } from './model.ts'
import { Empty, Section } from './section.tsx'

/** Who is there, and who is connected to whom. */
export function Topology({ now }: { now: Snapshot }): JSX.Element {
  const peers = now.peers.toSorted(byState)
  return (
    <Section id="topology" title="Peers" count={String(peers.length)}>
      {peers.length === 0 ? (
        <Empty>
          No other node was met yet. Start one on this network with <code>skein start</code>, or
          name one with <code>--join</code>. <code>skein doctor</code> says what keeps them apart.
        </Empty>
      ) : (
        <PeerTable peers={peers} at={now.at} />
      )}
    </Section>
  )
}

function PeerTable({ at, peers }: { at: number; peers: readonly Peer[] }): JSX.Element {
  return (
    <div class="scroll">
      <table>
        <thead>
          <tr>
            <th>Node</th>
            <th>State</th>
            <th class="number">Seen</th>
            <th class="number">Round trip</th>
            <th>Services</th>
          </tr>
        </thead>
        <tbody>
          {peers.map((peer) => (
            <tr key={peer.peerId} class={peer.state}>
              <th scope="row" title={peer.peerId}>
                {nameOf(peer.peerId, peer.name)}
              </th>
              <td>
                <State peer={peer} />
              </td>
              <td class="number">
                {peer.lastSeen === undefined ? 'never' : ago(at - Date.parse(peer.lastSeen))}
              </td>
              <td class="number">
                {peer.roundTripMs === undefined ? '–' : `${peer.roundTripMs.toFixed(1)} ms`}
              </td>
              <td>{peer.services.join(', ')}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}

function State({ peer }: { peer: Peer }): JSX.Element {
  const isFar = peer.state === 'up' && !peer.connected
  return (
    <span class={`state ${peer.state}`}>
      <span class="dot" aria-hidden="true" />
      {isFar ? 'up, no neighbour' : peer.state}
    </span>
  )
}

const ORDER: Readonly<Record<Peer['state'], number>> = { down: 0, suspect: 1, up: 2 }

function byState(one: Peer, other: Peer): number {
  const order = ORDER[one.state] - ORDER[other.state]
  return order !== 0
    ? order
    : nameOf(one.peerId, one.name).localeCompare(nameOf(other.peerId, other.name))
}
