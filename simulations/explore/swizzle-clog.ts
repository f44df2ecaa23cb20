import type { Fault } from '../scenario/contract.ts'

/** What the draw needs of its source of chance. */
interface Chance {
  below(bound: number): number
  ms(least: number, most: number): number
  some(): string[]
}

/**
 * Some nodes lose their links one after the other, and get them back in another order: in between, every mixture of
 * reachable and unreachable exists once. FoundationDB's name for it; it finds what plain partitions do not.
 */
export function swizzleClog(chance: Chance, untilMs: number): Fault[] {
  const nodes = chance.some()
  const stepMs = chance.ms(100, 1500)
  const startMs = chance.ms(1000, Math.max(1100, untilMs - 2 * stepMs * nodes.length - 1000))
  const order = [...nodes]
  for (let i = order.length - 1; i > 0; i--) {
    const j = chance.below(i + 1)
    const [a = '', b = ''] = [order[i], order[j]]
    order[i] = b
    order[j] = a
  }
  return nodes.map((node, i) => {
    const atMs = Math.min(startMs + i * stepMs, untilMs - 200)
    const restoredMs = startMs + (nodes.length + order.indexOf(node)) * stepMs
    return {
      kind: 'isolate',
      atMs,
      forMs: Math.max(100, Math.min(restoredMs, untilMs) - atMs),
      links: { kind: 'of', nodes: [node] },
      direction: 'both'
    }
  })
}
