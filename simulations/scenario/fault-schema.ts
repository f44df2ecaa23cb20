import { z } from 'zod'
import type { Direction, Fault, FaultKind, LinkScope, NodeSelector } from './contract.ts'
import {
  bandwidth,
  duration,
  groups,
  offset,
  oneOf,
  selector,
  share,
  span,
  strict,
  whole
} from './fields.ts'

const at = { at: duration }
const timed = { ...at, for: span.optional() }
const direction = { direction: oneOf('both', 'one-way').default('both') }
const links = { ...direction, nodes: selector.optional(), between: groups.optional() }

interface LinkFields {
  readonly direction: Direction
  readonly nodes?: NodeSelector | undefined
  readonly between?: readonly NodeSelector[] | undefined
}

interface TimeFields {
  readonly at: number
  readonly for?: number | undefined
}

const times = (raw: TimeFields): { atMs: number; forMs: number | undefined } => ({
  atMs: raw.at,
  forMs: raw.for
})

const between = (of: readonly NodeSelector[]): LinkScope => ({ kind: 'between', groups: of })

function onLinks(raw: LinkFields & TimeFields): {
  atMs: number
  forMs: number | undefined
  links: LinkScope
  direction: Direction
} {
  const scope: LinkScope =
    raw.between !== undefined
      ? between(raw.between)
      : raw.nodes === undefined
        ? { kind: 'all' }
        : { kind: 'of', nodes: raw.nodes }
  return { ...times(raw), links: scope, direction: raw.direction }
}

const onNodes = <K extends 'crash' | 'pause' | 'disk-full' | 'lose-unsynced-writes' | 'torn-tail'>(
  kind: K
) =>
  strict({ ...timed, [kind]: selector } as typeof timed & Record<K, typeof selector>).transform(
    (raw): Fault => ({
      kind,
      ...times(raw as TimeFields),
      nodes: (raw as Record<K, NodeSelector>)[kind]
    })
  )

const atOnce = <K extends 'heal' | 'resume'>(kind: K) =>
  strict({ ...at, [kind]: selector } as typeof at & Record<K, typeof selector>).transform(
    (raw): Fault => ({
      kind,
      ...times(raw as TimeFields),
      nodes: (raw as Record<K, NodeSelector>)[kind]
    })
  )

/** What each fault takes, and what becomes of it. */
const FAULTS: Readonly<Record<FaultKind, z.ZodType<Fault>>> = {
  partition: strict({ ...timed, ...direction, partition: groups }).transform((raw) => ({
    kind: 'partition',
    ...times(raw),
    links: between(raw.partition),
    direction: raw.direction
  })),
  heal: atOnce('heal'),
  isolate: strict({ ...timed, ...direction, isolate: selector }).transform((raw) => ({
    kind: 'isolate',
    ...times(raw),
    links: { kind: 'of', nodes: raw.isolate },
    direction: raw.direction
  })),
  flap: strict({ ...timed, ...direction, flap: groups, down: span, up: span }).transform((raw) => ({
    kind: 'flap',
    ...times(raw),
    links: between(raw.flap),
    direction: raw.direction,
    downMs: raw.down,
    upMs: raw.up
  })),
  latency: strict({
    ...timed,
    ...links,
    latency: duration,
    jitter: duration.default(0)
  }).transform((raw) => ({
    kind: 'latency',
    ...onLinks(raw),
    latencyMs: raw.latency,
    jitterMs: raw.jitter
  })),
  loss: strict({ ...timed, ...links, loss: share }).transform((raw) => ({
    kind: 'loss',
    ...onLinks(raw),
    perMillion: raw.loss
  })),
  duplicate: strict({ ...timed, ...links, duplicate: share }).transform((raw) => ({
    kind: 'duplicate',
    ...onLinks(raw),
    perMillion: raw.duplicate
  })),
  reorder: strict({ ...timed, ...links, reorder: share, by: span.default(50) }).transform(
    (raw) => ({
      kind: 'reorder',
      ...onLinks(raw),
      perMillion: raw.reorder,
      byMs: raw.by
    })
  ),
  bandwidth: strict({ ...timed, ...links, bandwidth }).transform((raw) => ({
    kind: 'bandwidth',
    ...onLinks(raw),
    bytesPerSecond: raw.bandwidth
  })),
  crash: onNodes('crash'),
  restart: strict({ ...at, restart: selector, down: duration.default(1000) }).transform((raw) => ({
    kind: 'restart',
    ...times(raw),
    nodes: raw.restart,
    downMs: raw.down
  })),
  pause: onNodes('pause'),
  resume: atOnce('resume'),
  'clock-skew': strict({ ...timed, 'clock-skew': selector, by: offset }).transform((raw) => ({
    kind: 'clock-skew',
    ...times(raw),
    nodes: raw['clock-skew'],
    byMs: raw.by
  })),
  'disk-full': onNodes('disk-full'),
  'slow-disk': strict({ ...timed, 'slow-disk': selector, by: span }).transform((raw) => ({
    kind: 'slow-disk',
    ...times(raw),
    nodes: raw['slow-disk'],
    latencyMs: raw.by
  })),
  corrupt: strict({ ...at, corrupt: selector, bits: whole(1, 1000).default(1) }).transform(
    (raw) => ({ kind: 'corrupt', ...times(raw), nodes: raw.corrupt, bits: raw.bits })
  ),
  'torn-tail': onNodes('torn-tail'),
  'lose-unsynced-writes': onNodes('lose-unsynced-writes')
}

export const FAULT_KINDS = Object.keys(FAULTS) as readonly FaultKind[]

/** One entry of the timeline: `at`, one fault, and what belongs to that fault. */
export const fault: z.ZodType<Fault, unknown> = z.unknown().transform((entry, context): Fault => {
  const fail = (message: string): never => {
    context.addIssue({ code: 'custom', message })
    return z.NEVER
  }
  const isMap = typeof entry === 'object' && entry !== null && !Array.isArray(entry)
  const named = isMap ? FAULT_KINDS.filter((kind) => Object.hasOwn(entry, kind)) : []
  const [kind] = named
  if (kind === undefined) return fail(`names no fault; allowed are ${FAULT_KINDS.join(', ')}`)
  if (named.length > 1) {
    return fail(`names ${named.join(' and ')}; write one entry for each fault`)
  }
  const result = FAULTS[kind].safeParse(entry)
  if (result.success) return result.data
  for (const issue of result.error.issues) {
    const keys = issue.code === 'unrecognized_keys' ? issue.keys : []
    context.addIssue({ code: 'custom', message: issue.message, path: issue.path, params: { keys } })
  }
  return z.NEVER
})
