import type { Trace } from '../trace.ts'
import type { TopologySnapshot } from './contract.ts'

/** Links drawn of one snapshot; more are a grey disc. */
const MOST_LINKS = 1500

/** Snapshots kept: a slider with more steps is no use. */
const MOST_SNAPSHOTS = 60

/** Every sample of who is connected to whom, with what had happened before. */
export function topologiesOf(trace: Trace, nodes: readonly string[]): TopologySnapshot[] {
  const places = new Map(nodes.map((name, place) => [name, place]))
  const down = new Set<string>()
  const found: TopologySnapshot[] = []
  let text = 'start'
  for (const event of trace) {
    if (event.kind === 'stopped') down.add(event.node)
    else if (event.kind === 'started') down.delete(event.node)
    else if (event.kind === 'fault') text = event.text
    else if (event.kind === 'heal') text = `end of ${event.text}`
    else if (event.kind === 'topology') {
      const links = event.links.flatMap(([a, b]): [number, number][] => {
        const [from, to] = [places.get(a), places.get(b)]
        return from === undefined || to === undefined ? [] : [[from, to]]
      })
      const parts = partsOf(nodes, links, down)
      found.push({
        atMs: event.at ?? 0,
        text,
        links: thinned(links, MOST_LINKS),
        linkCount: links.length,
        parts
      })
    }
  }
  return thinned(found, MOST_SNAPSHOTS)
}

/** At most `most`, evenly chosen, the first and the last among them. */
function thinned<T>(items: readonly T[], most: number): T[] {
  if (items.length <= most) return [...items]
  const step = (items.length - 1) / (most - 1)
  return Array.from({ length: most }, (_, i) => items[Math.round(i * step)] as T)
}

function partsOf(
  nodes: readonly string[],
  links: ReadonlyArray<readonly [number, number]>,
  down: ReadonlySet<string>
): number[] {
  const leader = nodes.map((_, place) => place)
  const find = (place: number): number => {
    let top = place
    while (leader[top] !== top) top = leader[top] ?? top
    leader[place] = top
    return top
  }
  for (const [a, b] of links) leader[find(a)] = find(b)
  const sizes = new Map<number, number>()
  nodes.forEach((name, place) => {
    if (!down.has(name)) sizes.set(find(place), (sizes.get(find(place)) ?? 0) + 1)
  })
  const order = [...sizes].toSorted(([a, x], [b, y]) => y - x || a - b).map(([top]) => top)
  const rank = new Map(order.map((top, i) => [top, i]))
  return nodes.map((name, place) => (down.has(name) ? -1 : (rank.get(find(place)) ?? -1)))
}
