import type { JSX } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { ago, nameOf } from './format.ts'
import { heightOf, ringOf } from './mesh-graph.ts'
import type { GraphNode, MeshGraph, Place } from './mesh-graph.ts'

export interface MeshDrawingProps {
  readonly graph: MeshGraph
  readonly at: number
}

/** With more nodes than these, only names that matter are written; the table has all. */
const NAMED = 36
/** More connections than these are drawn fainter. */
const MANY = 60

/** The mesh as a ring; the table below it says the same in words. */
export function MeshDrawing({ at, graph }: MeshDrawingProps): JSX.Element {
  const frame = useRef<HTMLDivElement>(null)
  const width = useWidth(frame)
  const { edges, nodes } = graph
  const height = heightOf(nodes.length)
  const places = ringOf(nodes.length, width, height)
  const placeOf = new Map(nodes.map(({ id }, index) => [id, places[index]]))
  const down = nodes.filter(({ state }) => state === 'down').length
  return (
    <div class="drawing" ref={frame}>
      <svg
        class={edges.length > MANY ? 'many' : ''}
        viewBox={`0 0 ${width} ${height}`}
        height={height}
        role="img"
        aria-label={`${nodes.length} nodes, ${edges.length} connections, ${down} down. The table below says which.`}
      >
        {edges.map(([one, other]) => (
          <Edge key={`${one} ${other}`} from={placeOf.get(one)} to={placeOf.get(other)} />
        ))}
        {nodes.map((node, index) => (
          <Spot
            key={node.id}
            node={node}
            place={places[index]}
            at={at}
            isNamed={nodes.length <= NAMED || node.isSelf || node.state !== 'up'}
          />
        ))}
      </svg>
    </div>
  )
}

function Edge({
  from,
  to
}: {
  from: Place | undefined
  to: Place | undefined
}): JSX.Element | null {
  if (from === undefined || to === undefined) return null
  return <line class="edge" x1={from.x} y1={from.y} x2={to.x} y2={to.y} />
}

interface SpotProps {
  readonly node: GraphNode
  readonly place: Place | undefined
  readonly at: number
  readonly isNamed: boolean
}

const OFFSET: Readonly<Record<Place['side'], readonly [number, number]>> = {
  left: [-15, 4],
  right: [15, 4],
  above: [0, -16],
  below: [0, 25]
}
const ANCHOR = { left: 'end', right: 'start', above: 'middle', below: 'middle' } as const

function Spot({ at, isNamed, node, place }: SpotProps): JSX.Element | null {
  if (place === undefined) return null
  const { side, sink, x, y } = place
  const [dx, dy] = OFFSET[side]
  const name = nameOf(node.id, node.name)
  const note = noteOf(node, at)
  const isStacked = side === 'above' ? -14 : 0
  return (
    <g class={`spot ${node.state}${node.isSelf ? ' self' : ''}`} transform={`translate(${x} ${y})`}>
      <title>{`${name} (${node.id})${note === '' ? '' : `, ${note}`}`}</title>
      {node.isSelf && <circle class="halo" r="12" />}
      {node.state === 'down' ? (
        <path d="M-7 0L0 -7L7 0L0 7Z" />
      ) : (
        <circle r={node.isSelf ? 7 : 6} />
      )}
      {isNamed && (
        <text x={dx} y={dy + sink + (note === '' ? 0 : isStacked)} text-anchor={ANCHOR[side]}>
          {cut(name)}
          {note !== '' && (
            <tspan class="note" x={dx} dy="14">
              {note}
            </tspan>
          )}
        </text>
      )}
    </g>
  )
}

function noteOf({ connectedTo, isSelf, since, state }: GraphNode, at: number): string {
  if (isSelf) return 'this node'
  if (state === 'down') return since === undefined ? 'down' : `down ${ago(at - since)}`
  if (state === 'suspect') return 'suspect'
  return connectedTo === undefined ? 'does not tell' : ''
}

function cut(name: string): string {
  return name.length > 14 ? `${name.slice(0, 13)}…` : name
}

/** Of the element, in CSS pixels, so that what is drawn keeps its size. */
function useWidth(element: { readonly current: HTMLElement | null }): number {
  const [width, setWidth] = useState(320)
  useEffect(() => {
    if (element.current === null) return undefined
    const observer = new ResizeObserver(([entry]) => {
      if (entry !== undefined) setWidth(Math.max(240, Math.round(entry.contentRect.width)))
    })
    observer.observe(element.current)
    return () => observer.disconnect()
  }, [element])
  return width
}
