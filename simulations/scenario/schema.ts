import { z } from 'zod'
import { LIMITS } from '../../src/core/limits.ts'
import type { Allowance, Reading, ScenarioNode, SizeRange } from './contract.ts'
import {
  bandwidth,
  bytes,
  duration,
  flag,
  listOf,
  offset,
  oneOf,
  rate,
  selector,
  span,
  strict,
  text,
  whole
} from './fields.ts'
import { fault } from './fault-schema.ts'

/** Nodes in one scenario: the footprint goal of one process. */
const MOST_NODES = 10_000

const name = text.refine((value) => /^[A-Za-z][A-Za-z0-9_-]*$/.test(value), {
  error: "may have letters, digits, '_' and '-', and begins with a letter"
})

const retention = strict({
  maxAge: span.optional(),
  maxBytes: bytes.optional(),
  maxMessages: whole(1, 1e9).optional(),
  keepLast: whole(1, 1000).optional()
}).transform(({ maxAge, ...rest }): ScenarioNode['retention'] => {
  const limits = { maxAgeMs: maxAge, ...rest }
  return Object.fromEntries(Object.entries(limits).filter(([, value]) => value !== undefined))
})

const node = strict({
  name: name.optional(),
  count: whole(1, MOST_NODES).optional(),
  joins: duration.default(0),
  keep: listOf(text).default([]),
  custodian: flag.optional(),
  clockSkew: offset.default(0),
  retention: retention.default({}),
  disk: strict({ kind: oneOf('disk', 'memory').default('disk'), size: bytes.optional() }).prefault(
    {}
  )
})

export type RawNode = z.output<typeof node>

/** `5`, one group `{ count: 5, ... }`, or a list of names and groups. */
const nodes = z.unknown().transform((value, context): RawNode[] => {
  const list: readonly unknown[] = Array.isArray(value) ? value : [value]
  const found: RawNode[] = []
  list.forEach((entry, place) => {
    const raw =
      typeof entry === 'number'
        ? { count: entry }
        : typeof entry === 'string'
          ? { name: entry }
          : entry
    const result = node.safeParse(raw)
    if (result.success) {
      found.push(result.data)
      return
    }
    for (const issue of result.error.issues) {
      const keys = issue.code === 'unrecognized_keys' ? issue.keys : []
      const path = [...(Array.isArray(value) ? [place] : []), ...issue.path]
      const message =
        entry === undefined ? 'is missing; allowed is a number, or a list of names' : issue.message
      context.addIssue({ code: 'custom', message, path, params: { keys } })
    }
  })
  if (list.length === 0)
    context.addIssue({ code: 'custom', message: 'has no node; at least one is needed' })
  return found
})

const size = z.unknown().transform((value, context): SizeRange => {
  const range: readonly unknown[] = Array.isArray(value) ? value : [value, value]
  const [min, max] = range.map((one) => bytes.safeParse(one).data)
  if (range.length === 2 && min !== undefined && max !== undefined && min <= max) {
    if (max <= LIMITS.payloadBytes) return { min, max }
  }
  const message = `is ${JSON.stringify(value)}; allowed is bytes such as 256 or '64KiB', or [least, most], at most ${LIMITS.payloadBytes}`
  context.addIssue({ code: 'custom', message })
  return z.NEVER
})

const confirm = z.unknown().transform((value, context) => {
  if (value === 'stored' || value === 'sent') return value
  const result = strict({ replicas: whole(1, 100), timeout: span.default(10_000) }).safeParse(value)
  if (result.success) return { replicas: result.data.replicas, timeoutMs: result.data.timeout }
  const message = `is ${JSON.stringify(value)}; allowed is 'stored', 'sent' or { replicas: 2, timeout: 10s }`
  context.addIssue({ code: 'custom', message })
  return z.NEVER
})

const reading = z.unknown().transform((value, context): Reading => {
  if (value === 'auto') return { kind: 'auto' }
  const slow = strict({ slow: rate }).safeParse(value)
  if (slow.success) return { kind: 'slow', perSecond: slow.data.slow }
  const stop = strict({ stop: duration, resume: duration.optional() }).safeParse(value)
  if (stop.success) return { kind: 'stop', atMs: stop.data.stop, resumeMs: stop.data.resume }
  const message = `is ${JSON.stringify(value)}; allowed is 'auto', { slow: 5 } (a second) or { stop: 10s, resume: 20s }`
  context.addIssue({ code: 'custom', message })
  return z.NEVER
})

const load = {
  rate,
  size: size.default({ min: 256, max: 256 }),
  from: duration.default(0),
  until: duration.optional()
}

const publisher = strict({
  nodes: selector,
  topic: text,
  ...load,
  confirm: confirm.default('stored'),
  ttl: span.optional(),
  key: text.optional()
})

const subscription = strict({
  label: text.optional(),
  nodes: selector,
  filter: text,
  durable: name.optional(),
  group: name.optional(),
  majority: whole(2, 64).optional(),
  from: oneOf('now', 'earliest').default('now'),
  ack: reading.default({ kind: 'auto' }),
  opens: duration.default(0),
  closes: duration.optional(),
  onGap: oneOf('wait', 'skip').default('wait')
})

const send = strict({
  from: selector,
  to: selector,
  topic: text,
  rate,
  size: size.default({ min: 256, max: 256 }),
  starts: duration.default(0),
  until: duration.optional(),
  custodians: whole(0, 100).default(0),
  ttl: span.optional()
})

const ALLOWANCES = [
  'unacknowledged',
  'crash',
  'power-loss',
  'partition'
] as const satisfies readonly Allowance[]

/** What a mesh that keeps its promises may do. */
const DEFAULT_ALLOWANCES: readonly Allowance[] = ['unacknowledged', 'crash', 'power-loss']

const noDuplicates = z.unknown().transform((value, context) => {
  if (value === false) return false as const
  if (value === true) return { allow: DEFAULT_ALLOWANCES }
  const allowance = oneOf(...ALLOWANCES)
  const many = z.union([allowance.transform((one) => [one]), listOf(allowance)])
  const result = strict({ allow: many }).safeParse(value)
  if (result.success) return { allow: result.data.allow }
  const message = `is ${JSON.stringify(value)}; allowed is true, false or { allow: [${ALLOWANCES.join(', ')}] }`
  context.addIssue({ code: 'custom', message })
  return z.NEVER
})

const holds = flag.default(true)

const expectations = strict({
  noLoss: holds,
  noDuplicates: noDuplicates.default({ allow: DEFAULT_ALLOWANCES }),
  publisherOrder: holds,
  gapsTold: holds,
  groups: holds,
  inbox: holds,
  converge: strict({ within: span }).optional(),
  memory: strict({ perNode: bytes }).optional(),
  delivered: z.record(z.string(), whole(0, 1e12)).default({})
})

export const document = strict({
  name: name.optional(),
  description: text,
  seed: whole(0, 2 ** 32 - 1).default(1),
  tier: listOf(oneOf('virtual', 'real')).min(1, { error: 'names no tier' }).default(['virtual']),
  nodes,
  network: strict({
    latency: duration.default(1),
    jitter: duration.default(0),
    bandwidth: bandwidth.optional(),
    announcements: oneOf('mesh', 'neighbours').default('mesh')
  }).prefault({}),
  workload: strict({
    publishers: listOf(publisher).default([]),
    subscriptions: listOf(subscription).default([]),
    sends: listOf(send).default([])
  }).prefault({}),
  timeline: listOf(fault).default([]),
  end: span,
  leave: flag.default(false),
  drain: duration.default(30_000),
  expect: expectations.prefault({})
})

/** A scenario as it was written, every value read. */
export type RawScenario = z.output<typeof document>
export type RawSubscription = z.output<typeof subscription>
