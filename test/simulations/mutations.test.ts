import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { checkTrace } from '../../simulations/checkers/check.ts'
import { describeEvent } from '../../simulations/checkers/event-text.ts'
import { explainViolations } from '../../simulations/checkers/history.ts'
import { inboxMessages } from '../../simulations/checkers/inbox-messages.ts'
import { lostMessages } from '../../simulations/checkers/lost-messages.ts'
import { memoryBound } from '../../simulations/checkers/memory-bound.ts'
import { repetitions } from '../../simulations/checkers/repeated-messages.ts'
import { sharedWork } from '../../simulations/checkers/shared-work.ts'
import { randomScenario } from '../../simulations/explore/random-scenario.ts'
import type { Scenario } from '../../simulations/scenario/contract.ts'
import { traceHash } from '../../simulations/trace-hash.ts'
import type { Trace, TraceEvent } from '../../simulations/trace.ts'
import { syntheticTrace } from './synthetic-trace.ts'

type Handed = Extract<TraceEvent, { kind: 'handed' }>

const scenarioOf = (seed: number): Scenario => {
  const scenario = randomScenario(seed, { nodes: 4, durationMs: 15_000 })
  return {
    ...scenario,
    sends: [],
    drainMs: 20_000,
    expect: { ...scenario.expect, convergeWithinMs: 20_000 }
  }
}
const found = (trace: Trace, scenario: Scenario): string[] => [
  ...new Set(checkTrace(trace, scenario.expect).violations.map(({ checker }) => checker))
]
const isHanded = (event: TraceEvent): event is Handed => event.kind === 'handed'

interface Case {
  readonly scenario: Scenario
  readonly trace: TraceEvent[]
  readonly place: number
  readonly event: Handed
}

const SEEDS = Array.from({ length: 16 }, (_, seed) => seed)

const traces = new Map<number, { scenario: Scenario; trace: TraceEvent[] }>()

/** A valid trace of random faults, and one hand-over in it. */
function caseOf(seed: number, pick: number): Case {
  const scenario = scenarioOf(seed)
  const { trace } = traces.get(seed) ?? { trace: syntheticTrace(scenario, seed) }
  traces.set(seed, { scenario, trace })
  const places = trace.flatMap((event, place) => (isHanded(event) ? [place] : []))
  const place = places[pick % places.length] ?? -1
  return { scenario, trace, place, event: trace[place] as Handed }
}

/** Draws numbers, not traces: a counterexample is then two numbers and not ten thousand events. */
const law = (check: (of: Case) => void): void => {
  fc.assert(
    fc.property(fc.nat({ max: SEEDS.length - 1 }), fc.nat(), (seed, pick) => {
      check(caseOf(seed, pick))
    }),
    { numRuns: 15 }
  )
}

describe('checkers under mutation', () => {
  it.each(SEEDS)('a valid trace of the random faults of seed %i passes every rule', (seed) => {
    const { scenario, trace } = caseOf(seed, 0)
    expect(found(trace, scenario)).toEqual([])
  })

  it('law: a hand-over taken out is a loss, and late for convergence if a heal followed', () => {
    law(({ event, place, scenario, trace }) => {
      const without = trace.filter(
        (other, i) =>
          i !== place &&
          !(
            other.kind === 'acknowledged' &&
            other.id === event.message.id &&
            other.subscription === event.subscription
          )
      )
      expect(found(without, scenario)).toContain('lost-messages')
      const told: TraceEvent = {
        kind: 'gap',
        subscription: event.subscription,
        publisher: event.message.publisher,
        session: event.message.session,
        channel: event.message.channel,
        from: event.message.sequence,
        to: event.message.sequence
      }
      expect(found([...without, told], scenario)).toEqual([])
    })
  })

  it('law: a hand-over repeated after its acknowledgement is a duplicate', () => {
    law(({ event, place, scenario, trace }) => {
      const again = { ...event, attempt: 2 }
      const lives = trace.filter(({ kind }) => kind !== 'stopped')
      const at = lives.indexOf(trace[place] as TraceEvent)
      expect(found(lives.toSpliced(at + 2, 0, again), scenario)).toContain('repeated-messages')
    })
  })

  it('law: two hand-overs of one publisher swapped are out of order', () => {
    law(({ event, place, scenario, trace }) => {
      const next = trace.findIndex(
        (other, i) =>
          i > place &&
          isHanded(other) &&
          other.subscription === event.subscription &&
          other.message.publisher === event.message.publisher
      )
      if (next === -1) return
      const swapped = trace.with(place, { ...(trace[next] as Handed) }).with(next, { ...event })
      expect(found(swapped, scenario)).toContain('publisher-order')
    })
  })

  it('law: a hole between two messages of an ephemeral subscription is a silent gap', () => {
    law(({ event, place, scenario, trace }) => {
      const same = trace.flatMap((other, i) =>
        isHanded(other) &&
        other.subscription === event.subscription &&
        other.message.publisher === event.message.publisher &&
        other.message.session === event.message.session
          ? [i]
          : []
      )
      const rank = same.indexOf(place)
      if (rank <= 0 || rank === same.length - 1) return
      const ephemeral = trace
        .filter((_, i) => i !== place)
        .map((other): TraceEvent =>
          other.kind === 'subscribed' ? { ...other, durable: false } : other
        )
      expect(found(ephemeral, scenario)).toEqual(['silent-gaps'])
    })
  })

  it('law: a hand-over that comes too long after a heal breaks convergence', () => {
    law(({ event, place, scenario, trace }) => {
      const heal = trace.findLastIndex(({ kind }) => kind === 'heal')
      const confirmed = trace.findIndex(
        (other) => other.kind === 'confirmed' && other.message.id === event.message.id
      )
      if (confirmed > heal) return
      const late = [...trace.filter((_, i) => i !== place), { ...event, at: 900_000, late: true }]
      const verdict = checkTrace(late, scenario.expect).violations
      const slow = trace.some(
        (other) =>
          other.kind === 'subscribed' && other.subscription === event.subscription && other.slow
      )
      expect(verdict.some(({ checker }) => checker === 'convergence')).toBe(!slow)
    })
  })

  it('law: any change of a trace changes its hash', () => {
    law(({ event, place, trace }) => {
      const hash = traceHash(trace)
      expect(traceHash(trace.map((other) => ({ ...other })))).toBe(hash)
      expect(traceHash(trace.with(place, { ...event, attempt: event.attempt + 1 }))).not.toBe(hash)
      expect(traceHash(trace.toSpliced(place, 1))).not.toBe(hash)
    })
  })
})

const message = (sequence: number): Handed['message'] => ({
  id: `p/s/${sequence}/a`,
  publisher: 'p',
  session: 's',
  sequence,
  channel: 'a'
})
const handed = (subscription: string, sequence: number, attempt = 1): TraceEvent => ({
  kind: 'handed',
  subscription,
  message: message(sequence),
  attempt,
  late: false
})
const acked = (subscription: string, sequence: number): TraceEvent => ({
  kind: 'acknowledged',
  subscription,
  id: message(sequence).id
})
const confirmed = (sequence: number): TraceEvent => ({
  kind: 'confirmed',
  message: message(sequence),
  topic: 'a/x'
})
const member = (subscription: string, group?: string): TraceEvent => ({
  kind: 'subscribed',
  subscription,
  filter: 'a/#',
  durable: true,
  node: subscription,
  ...(group === undefined ? {} : { group })
})
const stopped = (node: string, how: 'crash' | 'power-loss'): TraceEvent => ({
  kind: 'stopped',
  node,
  how
})

describe('repetitions', () => {
  const start = [member('d'), confirmed(1), handed('d', 1)]

  it('need a higher attempt or a crash, and are refused where nothing is allowed', () => {
    const again = [...start, handed('d', 1, 2)]
    expect(repetitions(['unacknowledged'])(again)).toEqual([])
    expect(repetitions([])(again)).toHaveLength(1)
    expect(repetitions(['unacknowledged'])([...start, handed('d', 1)])).toHaveLength(1)
    const crashed = [...start, stopped('d', 'crash'), handed('d', 1)]
    expect(repetitions(['crash'])(crashed)).toEqual([])
    expect(repetitions(['crash'])([...start, stopped('e', 'crash'), handed('d', 1)])).toHaveLength(
      1
    )
  })

  it('after an acknowledgement are excused by a loss of power since, and by nothing else', () => {
    const all = ['unacknowledged', 'crash', 'power-loss'] as const
    const done = [...start, acked('d', 1)]
    expect(repetitions(all)([...done, stopped('d', 'crash'), handed('d', 1, 2)])).toHaveLength(1)
    const lost = [...done, stopped('d', 'power-loss'), handed('d', 1, 2)]
    expect(repetitions(all)(lost)).toEqual([])
    expect(repetitions(['crash'])(lost)).toHaveLength(1)
    const before = [member('d'), stopped('d', 'power-loss'), ...done.slice(1), handed('d', 1, 2)]
    expect(repetitions(all)(before)).toHaveLength(1)
  })
})

describe('groups', () => {
  const start = [member('x', 'g'), member('y', 'g'), confirmed(1), handed('x', 1)]

  it('have each message acknowledged by one member, and lose none of them', () => {
    const good = [...start, acked('x', 1)]
    expect(sharedWork(good)).toEqual([])
    expect(lostMessages(good)).toEqual([])
    expect(sharedWork(start)).toMatchObject([{ subscription: 'group g' }])
    const twice = [...good, handed('y', 1), acked('y', 1)]
    expect(sharedWork(twice)).toMatchObject([{ subscription: 'y' }])
    expect(sharedWork(twice, { allow: ['partition'] })).toEqual([])
    expect(lostMessages(start.slice(0, 3))).toMatchObject([{ subscription: 'group g' }])
  })
})

describe('inbox', () => {
  const sent: TraceEvent = { kind: 'sent', id: 'm', from: 'a', to: 'b', topic: 't' }
  const received: TraceEvent = { kind: 'received', id: 'm', node: 'b' }
  const receipt: TraceEvent = { kind: 'receipt', id: 'm' }

  it('is received once, by the right node, with a receipt, or its sender is told', () => {
    expect(inboxMessages([sent, received, receipt])).toEqual([])
    expect(inboxMessages([sent, { kind: 'unreceived', id: 'm' }])).toEqual([])
    expect(inboxMessages([sent])).toHaveLength(1)
    expect(inboxMessages([sent, received])).toHaveLength(1)
    expect(inboxMessages([sent, receipt])).toHaveLength(1)
    expect(inboxMessages([sent, receipt, received])).toEqual([])
    expect(inboxMessages([sent, received, received, receipt])).toHaveLength(1)
    expect(inboxMessages([sent, received, { ...received, node: 'c' }, receipt])).toHaveLength(1)
  })
})

describe('bounds and excuses', () => {
  it('memory: one violation for each node above the bound, with its peak', () => {
    const samples = [5, 20, 11].map((bytes): TraceEvent => ({
      kind: 'memory',
      node: 'n',
      bytes: bytes * 2 ** 20
    }))
    expect(memoryBound(samples, 20 * 2 ** 20)).toEqual([])
    expect(memoryBound(samples, 10 * 2 ** 20)).toMatchObject([
      { subscription: 'n', what: 'took 20.0 MiB at its peak; allowed are 10.0 MiB' }
    ])
  })

  it('lost: what expired, was trimmed or came after the subscription ended is not owed', () => {
    const excused: TraceEvent = {
      kind: 'excused',
      publisher: 'p',
      session: 's',
      channel: 'a',
      from: 1,
      to: 2,
      reason: 'expired'
    }
    const trace = [member('d'), confirmed(1), confirmed(2)]
    expect(lostMessages(trace)).toHaveLength(2)
    expect(lostMessages([...trace, excused])).toEqual([])
    const ended: TraceEvent = { kind: 'unsubscribed', subscription: 'd' }
    expect(lostMessages([member('d'), ended, confirmed(1)])).toEqual([])
  })
})

describe('history', () => {
  it('shows the message, its neighbours at the same subscription, and the faults around', () => {
    const at = (ms: number, event: TraceEvent): TraceEvent => ({ ...event, at: ms })
    const fault = { id: 0, fault: 'crash', nodes: ['d'], text: 'crash d' } as const
    const trace = [
      at(0, member('d')),
      at(1, member('other')),
      at(10, confirmed(1)),
      at(11, handed('d', 1)),
      at(12, handed('other', 1)),
      at(20, { kind: 'fault', ...fault }),
      at(21, confirmed(2)),
      at(22, handed('other', 2)),
      at(30, { kind: 'heal', ...fault }),
      at(31, confirmed(3)),
      at(32, handed('d', 3)),
      at(33, confirmed(4)),
      at(34, handed('d', 4))
    ]
    const [first] = explainViolations(
      trace,
      lostMessages(trace).filter(({ id }) => id === 'p/s/2/a')
    )
    const shown = [2, 3, 5, 6, 7, 8, 9, 10].map((place) =>
      describeEvent(trace[place] as TraceEvent)
    )
    expect(first?.history).toEqual(shown)
    expect(first?.history[2]).toBe('    0.020 s  fault        crash d')
  })

  it('takes time in proportion to the trace, not to its square', () => {
    const count = 60_000
    const trace: TraceEvent[] = [member('d'), member('e')]
    for (let i = 1; i <= count; i++) trace.push(confirmed(i), handed('d', i), acked('d', i))
    const { expect: expected } = scenarioOf(1)
    const started = performance.now()
    const { violations } = checkTrace(trace, expected)
    explainViolations(trace, violations)
    expect(violations.filter(({ checker }) => checker === 'lost-messages')).toHaveLength(count)
    // Some 300 ms; a quadratic scan takes minutes.
    expect(performance.now() - started).toBeLessThan(10_000)
  })
})
