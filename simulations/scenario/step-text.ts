import type { Fault, LinkScope } from './contract.ts'
import type { Impairment, LinkSet } from './step.ts'

/** What a fault does to frames on the links it hits. */
export function impairmentOf(fault: Extract<Fault, { links: LinkScope }>): Impairment {
  switch (fault.kind) {
    case 'partition':
    case 'isolate':
    case 'flap':
      return { kind: 'cut' }
    case 'latency':
      return { kind: fault.kind, latencyMs: fault.latencyMs, jitterMs: fault.jitterMs }
    case 'reorder':
      return { kind: fault.kind, perMillion: fault.perMillion, byMs: fault.byMs }
    case 'bandwidth':
      return { kind: fault.kind, bytesPerSecond: fault.bytesPerSecond }
    case 'loss':
    case 'duplicate':
      return { kind: fault.kind, perMillion: fault.perMillion }
    default:
      return fault satisfies never
  }
}

export function linksText(links: LinkSet): string {
  if (links.kind === 'all') return 'every link'
  if (links.kind === 'of') {
    return `${links.direction === 'one-way' ? 'from ' : ''}${namesText(links.nodes)}`
  }
  const arrow = links.direction === 'one-way' ? ' -> ' : ' | '
  const groups = links.groups.map((group) => namesText(group))
  return groups
    .slice(1)
    .reduce((text, group, i) => `${text}${i === 0 ? arrow : ' | '}${group}`, groups[0] ?? '')
}

/** Names, runs of three or more as `n1..n5`; at most six such terms, and how many more there are. */
export function namesText(names: readonly string[]): string {
  const terms: { first: string; last: string; count: number }[] = []
  for (const name of names) {
    const run = terms.at(-1)
    if (run !== undefined && follows(run.last, name)) {
      run.last = name
      run.count++
    } else terms.push({ first: name, last: name, count: 1 })
  }
  const texts = terms.flatMap(({ count, first, last }) =>
    count > 2 ? [`${first}..${last}`] : count === 2 ? [first, last] : [first]
  )
  return texts.length > 6
    ? `${texts.slice(0, 5).join(' ')} and ${texts.length - 5} more`
    : texts.join(' ')
}

/** Is `next` the name with the next number? */
function follows(name: string, next: string): boolean {
  const [, stem, number] = /^(.*?)(\d+)$/.exec(name) ?? []
  return stem !== undefined && next === `${stem}${Number(number) + 1}`
}

/** How much of it, with a space before it. */
export function amountText(fault: Fault): string {
  if ('latencyMs' in fault) return ` +${fault.latencyMs} ms`
  if ('perMillion' in fault) return ` ${fault.perMillion / 10_000} %`
  if ('bytesPerSecond' in fault) return ` ${(fault.bytesPerSecond * 8) / 1000} kbit/s`
  if ('bits' in fault) return ` ${fault.bits} bit`
  if (fault.kind !== 'clock-skew') return ''
  return ` ${fault.byMs < 0 ? '' : '+'}${fault.byMs / 1000} s`
}
