import { type Random, seededRandom } from '../../src/core/random.ts'
import type { Fault, LinkScope, Scenario } from '../scenario/contract.ts'
import { formatScenario } from '../scenario/format.ts'
import { parseScenario } from '../scenario/parse.ts'
import { swizzleClog } from './swizzle-clog.ts'

export interface RandomScenarioInit {
  /** Default 5. At least 2. */
  readonly nodes?: number | undefined
  /** Load and faults, ms. Default 60,000. At least 10,000. */
  readonly durationMs?: number | undefined
}

/** The last part is free of faults, so that what is checked is rest after trouble, not trouble. */
const QUIET_SHARE = 0.2

/** Messages of a publisher come at up to this rate, per second, in runs of up to this time; in longer ones at less. */
const MOST_RATE = 50
const FULL_RATE_MS = 60_000

/**
 * How far clocks are set, ms. Over a restart ages are as right as the clock, and readers from `now` choose by age: they
 * are promised what they miss with ages right to 5 s in all. A reader and whom it asks can each have been set from one
 * end of this to the other. Readers of everything do not care.
 */
const MOST_SKEW_MS = { now: 1_000, earliest: 3_600_000 } as const

/** Messages begin when readers are older than ages can be wrong, ms. */
const LOAD_FROM_MS = 5_000

/** One fault for so many ms on average. */
const FAULT_EVERY_MS = 4000

/**
 * A scenario that the seed alone decides: a few publishers and durable subscribers, and faults of every kind, one
 * upon another. Ends with everything healed and every node up, so that all rules must hold.
 */
export function randomScenario(
  seed: number,
  { nodes = 5, durationMs = 60_000 }: RandomScenarioInit = {}
): Scenario {
  const random = seededRandom(seed)
  // The first outputs of neighbouring seeds are alike.
  for (let i = 0; i < 8; i++) random.int(2)
  const dice = new Dice(random, nodes)
  const healMs = Math.floor((durationMs * (1 - QUIET_SHARE)) / 100) * 100
  const faults: Fault[] = []
  const count = 1 + random.int(Math.max(2, Math.ceil((2 * healMs) / FAULT_EVERY_MS)))
  for (let i = 0; i < count; i++) faults.push(...drawFault(dice, healMs))
  const base = parseScenario(baseText(seed, { nodes, durationMs, dice }), { file: 'random.yaml' })
  const all = [...faults, ...restored(healMs)].toSorted((a, b) => a.atMs - b.atMs)
  const scenario = { ...base, faults: all }
  // Through the text and back: what runs is exactly what can be saved.
  return parseScenario(formatScenario(scenario), { file: `random-${seed}.yaml` })
}

function baseText(
  seed: number,
  { dice, durationMs, nodes }: { dice: Dice; durationMs: number; nodes: number }
): string {
  // What matters is the faults: a long run has more of them, and not more messages.
  const most = Math.max(
    2,
    Math.floor((MOST_RATE * FULL_RATE_MS) / Math.max(durationMs, FULL_RATE_MS))
  )
  const publishers = Array.from(
    { length: 1 + dice.below(3) },
    () =>
      `    - { nodes: ${dice.node()}, topic: 'load/{node}', rate: ${1 + dice.below(most)}, from: ${LOAD_FROM_MS}ms, size: [16, ${64 << dice.below(7)}] }`
  )
  const ack = dice.below(4) === 0 ? ', ack: { slow: 200 }' : ''
  return `name: random-${seed}
description: Random faults from seed ${seed}.
seed: ${seed}
nodes: ${nodes}
network: { latency: ${dice.below(20)}ms, jitter: ${dice.below(20)}ms }
workload:
  publishers:
${publishers.join('\n')}
  subscriptions:
    - { nodes: all, filter: 'load/#', durable: reader, from: ${dice.from} }
    - { nodes: ${dice.node()}, filter: '+/+', durable: second, from: ${dice.from}${ack} }
  sends:
    - { from: ${dice.node()}, to: ${dice.node()}, topic: note, rate: 1 }
end: ${durationMs}ms
drain: 60s
expect:
  converge: { within: 30s }
`
}

/** Whatever a fault left behind: links, frozen and dead nodes, disks and clocks end by their own `for`. */
function restored(atMs: number): Fault[] {
  const forMs = undefined
  return [
    { kind: 'heal', atMs, forMs, nodes: ['all'] },
    { kind: 'resume', atMs, forMs, nodes: ['all'] },
    // In order, over nodes that run and nodes that do not: the last word is a clean start of everything.
    { kind: 'restart', atMs, forMs, nodes: ['all'], downMs: 500 }
  ]
}

class Dice {
  readonly #random: Random
  readonly #nodes: number
  /** Where readers begin. */
  readonly from: 'now' | 'earliest'

  constructor(random: Random, nodes: number) {
    this.#random = random
    this.#nodes = nodes
    this.from = this.below(2) === 0 ? 'now' : 'earliest'
  }

  skewMs(): number {
    const most = MOST_SKEW_MS[this.from]
    return this.ms(0, 2 * most) - most
  }

  below(bound: number): number {
    return this.#random.int(bound)
  }

  node(): string {
    return `n${1 + this.below(this.#nodes)}`
  }

  /** At least one, not all. */
  some(): string[] {
    const names = Array.from({ length: this.#nodes }, (_, i) => `n${i + 1}`)
    const picked = names.filter(() => this.below(3) === 0).slice(0, this.#nodes - 1)
    return picked.length > 0 ? picked : [this.node()]
  }

  groups(): string[][] {
    const first = this.some()
    return [first, ['rest']]
  }

  /** A time in whole tenths of a second, from `least` on. */
  ms(least: number, most: number): number {
    return Math.round((least + this.below(Math.max(1, most - least))) / 100) * 100
  }

  direction(): 'both' | 'one-way' {
    return this.below(4) === 0 ? 'one-way' : 'both'
  }

  links(): LinkScope {
    const kind = this.below(3)
    if (kind === 0) return { kind: 'all' }
    return kind === 1
      ? { kind: 'of', nodes: this.some() }
      : { kind: 'between', groups: this.groups() }
  }
}

interface Draw {
  readonly dice: Dice
  readonly atMs: number
  readonly forMs: number
  readonly healMs: number
}

/** How often a fault is drawn, beside the others. */
const MIX: ReadonlyArray<readonly [weight: number, draw: (draw: Draw) => Fault[]]> = [
  [
    5,
    (draw) => [
      { kind: 'partition', ...times(draw), links: between(draw), direction: draw.dice.direction() }
    ]
  ],
  [
    3,
    (draw) => [
      { kind: 'isolate', ...times(draw), links: of(draw), direction: draw.dice.direction() }
    ]
  ],
  [
    2,
    (draw) => [
      {
        kind: 'flap',
        ...times(draw),
        links: between(draw),
        direction: 'both',
        downMs: draw.dice.ms(200, 3000),
        upMs: draw.dice.ms(200, 3000)
      }
    ]
  ],
  [3, ({ dice, healMs }) => swizzleClog(dice, healMs)],
  [
    3,
    (draw) => [
      {
        kind: 'latency',
        ...onLinks(draw),
        latencyMs: draw.dice.ms(100, 2000),
        jitterMs: draw.dice.ms(0, 500)
      }
    ]
  ],
  [
    3,
    (draw) => [{ kind: 'loss', ...onLinks(draw), perMillion: 10_000 * (1 + draw.dice.below(30)) }]
  ],
  [
    2,
    (draw) => [
      { kind: 'duplicate', ...onLinks(draw), perMillion: 10_000 * (1 + draw.dice.below(20)) }
    ]
  ],
  [
    2,
    (draw) => [
      {
        kind: 'reorder',
        ...onLinks(draw),
        perMillion: 10_000 * (1 + draw.dice.below(50)),
        byMs: draw.dice.ms(100, 1000)
      }
    ]
  ],
  [
    1,
    (draw) => [
      { kind: 'bandwidth', ...onLinks(draw), bytesPerSecond: 16_000 << draw.dice.below(5) }
    ]
  ],
  [5, (draw) => [{ kind: 'crash', ...times(draw), nodes: draw.dice.some() }]],
  [4, (draw) => [{ kind: 'lose-unsynced-writes', ...times(draw), nodes: draw.dice.some() }]],
  [3, (draw) => [{ kind: 'torn-tail', ...times(draw), nodes: draw.dice.some() }]],
  [
    2,
    (draw) => [
      {
        kind: 'restart',
        ...times(draw),
        forMs: undefined,
        nodes: draw.dice.some(),
        downMs: draw.dice.ms(100, 5000)
      }
    ]
  ],
  [4, (draw) => [{ kind: 'pause', ...times(draw), nodes: draw.dice.some() }]],
  [
    2,
    (draw) => [
      {
        kind: 'clock-skew',
        ...times(draw),
        nodes: draw.dice.some(),
        byMs: draw.dice.skewMs()
      }
    ]
  ],
  [2, (draw) => [{ kind: 'disk-full', ...times(draw), nodes: [draw.dice.node()] }]],
  [
    2,
    (draw) => [
      {
        kind: 'slow-disk',
        ...times(draw),
        nodes: draw.dice.some(),
        latencyMs: draw.dice.ms(100, 1000)
      }
    ]
  ]
]

const WEIGHTS = MIX.reduce((sum, [weight]) => sum + weight, 0)

/** Corruption is not drawn: a flipped bit in the only copy is a loss that no rule excuses. */
function drawFault(dice: Dice, healMs: number): Fault[] {
  const atMs = dice.ms(1000, healMs - 1000)
  const forMs = Math.min(dice.ms(200, 1 + healMs / 3), healMs - atMs)
  let left = dice.below(WEIGHTS)
  for (const [weight, draw] of MIX) {
    left -= weight
    if (left < 0) return draw({ dice, atMs, forMs: Math.max(100, forMs), healMs })
  }
  return []
}

const times = ({ atMs, forMs }: Draw): { atMs: number; forMs: number } => ({ atMs, forMs })
const between = ({ dice }: Draw): LinkScope => ({ kind: 'between', groups: dice.groups() })
const of = ({ dice }: Draw): LinkScope => ({ kind: 'of', nodes: dice.some() })
const onLinks = (
  draw: Draw
): { atMs: number; forMs: number; links: LinkScope; direction: 'both' | 'one-way' } => ({
  ...times(draw),
  links: draw.dice.links(),
  direction: draw.dice.direction()
})
