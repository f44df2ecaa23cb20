import type { JSX } from 'preact'
import { ago, clock, nameOf } from './format.ts'
import { MeshDrawing } from './mesh-drawing.tsx'
import { graphOf } from './mesh-graph.ts'
import type { GraphNode, MeshGraph } from './mesh-graph.ts'
import type { Snapshot } from './model.ts'
import { Empty, Section } from './section.tsx'
import { Table } from './table.tsx'

/** Who is there, and who is connected to whom. */
export function Topology({ now }: { now: Snapshot }): JSX.Element {
  const graph = graphOf(now)
  const { edges, nodes } = graph
  return (
    <Section
      id="topology"
      title="Mesh"
      count={`${nodes.length} ${nodes.length === 1 ? 'node' : 'nodes'}, ${edges.length} ${edges.length === 1 ? 'connection' : 'connections'}`}
    >
      {nodes.length === 1 ? (
        <Empty>
          No other node was met yet. Start one on this network with <code>skein start</code>, or
          name one with <code>--join</code>. <code>skein doctor</code> says what keeps them apart.
        </Empty>
      ) : (
        <>
          <MeshDrawing graph={graph} at={now.at} />
          <NodeTable graph={graph} at={now.at} />
        </>
      )}
    </Section>
  )
}

function NodeTable({ at, graph }: { at: number; graph: MeshGraph }): JSX.Element {
  const names = new Map(graph.nodes.map(({ id, name }) => [id, nameOf(id, name)]))
  return (
    <Table
      label="Nodes of the mesh"
      columns={[
        'Node',
        'State',
        'Connected to',
        { number: 'Round trip', isMinor: true },
        { minor: 'Services' }
      ]}
    >
      {graph.nodes.toSorted(byState).map((node) => (
        <tr key={node.id} class={node.state}>
          <th scope="row" title={node.id}>
            {names.get(node.id)}
            {node.isSelf && <span class="dim"> this node</span>}
          </th>
          <td>
            <State node={node} at={at} />
          </td>
          <td class="wrap">{neighboursOf(node, names)}</td>
          <td class="number minor">
            {node.roundTripMs === undefined ? '' : `${node.roundTripMs.toFixed(1)} ms`}
          </td>
          <td class="wrap minor">{node.services.join(', ')}</td>
        </tr>
      ))}
    </Table>
  )
}

function State({ at, node }: { at: number; node: GraphNode }): JSX.Element {
  const { since, state } = node
  const isSaid = state !== 'up' && since !== undefined
  return (
    <span class={`state ${state}`}>
      <span class="dot" aria-hidden="true" />
      {isSaid ? (
        <span title={`${ago(at - since)} ago`}>
          {state} since {clock(since, at)}
        </span>
      ) : (
        state
      )}
    </span>
  )
}

/** Names of its neighbours that fit a line. */
const NAMED = 5

function neighboursOf(node: GraphNode, names: ReadonlyMap<string, string>): string {
  if (node.state === 'down') return '–'
  if (node.connectedTo === undefined) return 'did not tell'
  if (node.connectedTo.length === 0) return 'nobody'
  const all = node.connectedTo
    .map((id) => names.get(id) ?? nameOf(id, undefined))
    .toSorted((one, other) => one.localeCompare(other))
  const rest = all.length - NAMED
  return rest > 0 ? `${all.slice(0, NAMED).join(', ')} and ${rest} more` : all.join(', ')
}

const ORDER: Readonly<Record<GraphNode['state'], number>> = { down: 0, suspect: 1, up: 2 }

/** What is wrong comes first; else the order of the graph. */
function byState(one: GraphNode, other: GraphNode): number {
  return ORDER[one.state] - ORDER[other.state]
}
