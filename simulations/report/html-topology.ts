import type { Report, TopologySnapshot } from './contract.ts'
import { escape } from './escape.ts'
import { count, moment } from './figures.ts'

/** Parts of the mesh with a colour of their own; further ones share the last. */
const COLOURS = 5

const SIZE = 400
const RADIUS = 158

/** Names are drawn up to so many nodes. */
const MOST_NAMES = 36

/** Who was connected to whom, at each sample, with a slider through them. Undefined without samples. */
export function topology({ nodes, topologies }: Report): string | undefined {
  if (topologies.length === 0) return undefined
  const chosen = Math.max(
    0,
    topologies.findIndex(({ parts }) => parts.some((part) => part !== 0))
  )
  const places = nodes.map((_, i) => {
    const angle = (2 * Math.PI * i) / nodes.length - Math.PI / 2
    return [SIZE / 2 + RADIUS * Math.cos(angle), SIZE / 2 + RADIUS * Math.sin(angle)] as const
  })
  const shots = topologies.map(
    (shot, i) => `<g class="shot${i === chosen ? ' on' : ''}">${drawing(shot, nodes, places)}</g>`
  )
  const captions = topologies.map(
    (shot, i) => `<p class="shot${i === chosen ? ' on' : ''}">${caption(shot)}</p>`
  )
  const last = topologies.length - 1
  const margin = nodes.length <= MOST_NAMES ? marginFor(nodes) : 0
  return `<section class="topology" id="topology">
<h2>Who reached whom</h2>
<div class="stage"><svg viewBox="${-margin} 0 ${SIZE + 2 * margin} ${SIZE}" role="img" aria-label="Connections between nodes">${shots.join('')}</svg>
<div class="steer"><div class="captions">${captions.join('')}</div>
<div class="buttons"><button type="button" data-step="-1" aria-label="Earlier">&#8592;</button><input type="range" min="0" max="${last}" value="${chosen}" aria-label="Moment"><button type="button" data-step="1" aria-label="Later">&#8594;</button></div>
<p class="legend"><i class="p0"></i>largest part <i class="p1"></i>other parts <i class="down"></i>down</p></div></div>
</section>`
}

/** Room left and right for the longest name beside its node. */
function marginFor(nodes: readonly string[]): number {
  const longest = Math.max(...nodes.map(({ length }) => length))
  return Math.max(0, longest * 8 - 20)
}

function caption({ atMs, linkCount, parts, text }: TopologySnapshot): string {
  const reached = Math.max(-1, ...parts) + 1
  const down = parts.filter((part) => part === -1).length
  const facts = [
    `${count(linkCount)} connections`,
    reached > 1 ? `${count(reached)} parts` : 'one mesh',
    ...(down > 0 ? [`${count(down)} down`] : [])
  ]
  return `<b>${moment(atMs)}</b> <em>${escape(text)}</em><small>${facts.join(' &middot; ')}</small>`
}

type Places = ReadonlyArray<readonly [number, number]>

function drawing(shot: TopologySnapshot, nodes: readonly string[], places: Places): string {
  const paths = new Map<number, string[]>()
  for (const [a, b] of shot.links) {
    const [from, to] = [places[a], places[b]]
    if (from === undefined || to === undefined) continue
    const colour = colourOf(shot.parts[a] ?? 0)
    const path = paths.get(colour) ?? []
    paths.set(colour, path)
    path.push(`M${near(from)}Q${SIZE / 2} ${SIZE / 2} ${near(to)}`)
  }
  const faint = Math.max(0.05, Math.min(0.75, 14 / Math.sqrt(shot.links.length * 6 + 1)))
  const lines = [...paths].map(
    ([colour, path]) =>
      `<path class="p${colour}" style="opacity:${faint.toFixed(2)}" d="${path.join('')}"/>`
  )
  const radius = nodes.length <= MOST_NAMES ? 9 : Math.max(1.2, 420 / nodes.length)
  const dots = nodes.map((name, i) => {
    const part = shot.parts[i] ?? 0
    const [x, y] = places[i] ?? [0, 0]
    const dot = `<circle class="${part === -1 ? 'down' : `p${colourOf(part)}`}" cx="${x.toFixed(1)}" cy="${y.toFixed(1)}" r="${radius.toFixed(1)}"/>`
    return nodes.length <= MOST_NAMES ? dot + label(name, [x, y]) : dot
  })
  return lines.join('') + dots.join('')
}

function label(name: string, [x, y]: readonly [number, number]): string {
  const [dx, dy] = [x - SIZE / 2, y - SIZE / 2]
  const [lx, ly] = [x + (dx / RADIUS) * 16, y + (dy / RADIUS) * 18 + 4]
  const anchor = Math.abs(dx) < 20 ? 'middle' : dx > 0 ? 'start' : 'end'
  return `<text x="${lx.toFixed(1)}" y="${ly.toFixed(1)}" text-anchor="${anchor}">${escape(name)}</text>`
}

function near([x, y]: readonly [number, number]): string {
  return `${x.toFixed(1)} ${y.toFixed(1)}`
}

function colourOf(part: number): number {
  return Math.min(COLOURS - 1, Math.max(0, part))
}
