import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type MemberView, assign, standingOf } from '../../src/groups/assignment.ts'
import { GroupState, type GroupValue } from '../../src/groups/group-state.ts'
import {
  decodeDefinition,
  decodeHearing,
  decodeRanges,
  decodeSlots,
  type Definition,
  encodeDefinition,
  encodeHearing,
  encodeMembership,
  encodeRanges,
  encodeSlots,
  logKey
} from '../../src/groups/group-values.ts'
import { Heard } from '../../src/groups/heard.ts'
import { RangeSet } from '../../src/groups/range-set.ts'
import { SlotTable, type Tenure } from '../../src/groups/slot-table.ts'
import { desiredOwner, ranking, SLOTS, slotOf } from '../../src/groups/slots.ts'
import { peerIdFromPublicKey } from '../../src/wire/peer-id.ts'

const PEERS = [1, 2, 3, 4].map((n) => peerIdFromPublicKey(new Uint8Array(32).fill(n)))
const peer = fc.constantFrom(...PEERS)
const ranges = fc.array(fc.tuple(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 0, max: 9 })), {
  maxLength: 20
})
const setOf = (pairs: readonly (readonly [number, number])[]): RangeSet =>
  new RangeSet(pairs.map(([from, length]) => ({ from, to: from + length })))

const tenure: fc.Arbitrary<Tenure> = fc.record({
  epoch: fc.integer({ min: 1, max: 5 }),
  owner: peer,
  life: fc.integer({ min: 1, max: 3 })
})
const table = fc
  .array(fc.tuple(fc.integer({ min: 0, max: 7 }), tenure), { maxLength: 12 })
  .map((entries) => {
    const slots = new SlotTable()
    for (const [slot, one] of entries) slots.put(slot, one)
    return slots
  })
const heard = fc
  .array(
    fc.record({
      peer,
      session: fc.constantFrom('0000000000000001', '0000000000000002'),
      sequence: fc.integer({ min: 1, max: 9 })
    }),
    { maxLength: 6 }
  )
  .map(
    (all) => new Heard(all.map(({ peer: id, sequence, session }) => [id, { session, sequence }]))
  )
const log = fc
  .constantFrom(...PEERS)
  .map((publisher) => logKey({ channel: 'orders', publisher, session: '0000000000000001' }))

describe('groups: ranges', () => {
  it('hold what was added, as few ranges that do not touch', () => {
    fc.assert(
      fc.property(ranges, (pairs) => {
        const set = setOf(pairs)
        const model = new Set(
          pairs.flatMap(([from, length]) => Array.from({ length: length + 1 }, (_, i) => from + i))
        )
        for (let n = 0; n <= 72; n++) expect(set.has(n)).toBe(model.has(n))
        expect(set.count).toBe(model.size)
        expect(set.countWithin(10, 40)).toBe([...model].filter((n) => n >= 10 && n <= 40).length)
        expect(set.last).toBe(Math.max(0, ...model))
        for (const [at, { from }] of set.ranges.entries()) {
          expect(at === 0 || from > (set.ranges[at - 1]?.to ?? 0) + 1).toBe(true)
        }
        expect(decodeRanges(encodeRanges(set.ranges))).toEqual(set.ranges)
      })
    )
  })

  it('say whether all of another is in them', () => {
    fc.assert(
      fc.property(ranges, ranges, (a, b) => {
        const [one, other] = [setOf(a), setOf(b)]
        const all = other.ranges.every(({ from, to }) => {
          for (let n = from; n <= to; n++) if (!one.has(n)) return false
          return true
        })
        expect(one.includes(other)).toBe(all)
        one.merge(other.ranges)
        expect(one.includes(other)).toBe(true)
      })
    )
  })
})

describe('groups: slots', () => {
  it('share messages evenly, and move only what belongs to who comes or goes', () => {
    const counts = new Map<string, number>()
    for (let slot = 0; slot < SLOTS; slot++) {
      const owner = desiredOwner(slot, PEERS) ?? ''
      counts.set(owner, (counts.get(owner) ?? 0) + 1)
      expect(ranking(slot, PEERS)[0]).toBe(owner)
      const without = PEERS.filter((one) => one !== PEERS[0])
      const next = owner === PEERS[0] ? ranking(slot, PEERS)[1] : owner
      expect(desiredOwner(slot, without)).toBe(next)
    }
    for (const owner of PEERS) expect(counts.get(owner)).toBeGreaterThan(35)
    const hit = new Set(Array.from({ length: 4096 }, (_, n) => slotOf(undefined, `id-${n}`)))
    expect(hit.size).toBe(SLOTS)
    expect(slotOf('customer-1', 'a')).toBe(slotOf('customer-1', 'b'))
  })

  it('are the same on every machine', () => {
    expect([slotOf('customer-3', ''), slotOf(undefined, 'x/1'), desiredOwner(7, PEERS)]).toEqual([
      25,
      51,
      PEERS[1]
    ])
  })

  it('merge in any order into the same table, which reads as it was written', () => {
    fc.assert(
      fc.property(table, table, table, (a, b, c) => {
        const merged = (...tables: SlotTable[]): (Tenure | undefined)[] => {
          const result = new SlotTable()
          for (const one of tables) result.merge(one)
          return [...result.entries()].map(([, one]) => one)
        }
        expect(merged(a, b, c)).toEqual(merged(c, b, a))
        expect(merged(a, b, b, a, c)).toEqual(merged(a, b, c))
        const read = decodeSlots(encodeSlots(a))
        expect([...read.entries()].map(([, one]) => one)).toEqual(merged(a))
      })
    )
  })
})

describe('groups: state', () => {
  const definition: fc.Arbitrary<Definition> = fc.record({
    filter: fc.constantFrom('orders/#', 'orders/+'),
    createdAt: fc.integer({ min: 1, max: 4 }),
    creator: peer,
    majority: fc.nat({ max: 64 }),
    since: fc.oneof(fc.constant('all' as const), fc.integer({ min: 0, max: 9 })),
    base: fc
      .array(fc.tuple(log, fc.integer({ min: 1, max: 9 })), { maxLength: 3 })
      .map((all) => new Map(all))
  })
  const value: fc.Arbitrary<GroupValue> = fc.oneof(
    definition.map((one) => ({
      publisher: one.creator,
      suffix: `/${one.creator}/definition`,
      key: undefined,
      payload: encodeDefinition(one)
    })),
    fc.tuple(peer, fc.integer({ min: 1, max: 3 }), fc.boolean()).map(([id, life, joined]) => ({
      publisher: id,
      suffix: `/${id}/member`,
      key: undefined,
      payload: encodeMembership({ life, joined, full: false })
    })),
    fc.tuple(peer, table).map(([id, slots]) => ({
      publisher: id,
      suffix: `/${id}/slots`,
      key: undefined,
      payload: encodeSlots(slots)
    })),
    fc.tuple(peer, heard, fc.nat({ max: 4 })).map(([id, positions, question]) => ({
      publisher: id,
      suffix: `/${id}/heard`,
      key: undefined,
      payload: encodeHearing({ positions, question })
    })),
    fc.tuple(peer, log, ranges).map(([id, key, pairs]) => ({
      publisher: id,
      suffix: `/${id}/acks`,
      key,
      payload: encodeRanges(setOf(pairs).ranges)
    }))
  )
  const read = (positions: Heard) =>
    [...positions.entries()].toSorted(([one], [other]) => (one < other ? -1 : 1))
  const facts = (values: readonly GroupValue[]) => {
    const state = new GroupState()
    for (const one of values) state.apply(one)
    const { definition: agreed } = state
    return {
      // Of two by one creator in one millisecond either may count: a creator makes one.
      definition: agreed === undefined ? undefined : [agreed.createdAt, agreed.creator],
      members: [...state.members].toSorted(([one], [other]) => (one < other ? -1 : 1)),
      slots: [...state.slots.entries()],
      heard: [...state.hearings]
        .map(([id, { positions, question }]) => ({ id, question, all: read(positions) }))
        .toSorted((one, other) => (one.id < other.id ? -1 : 1)),
      done: [...state.logs()]
        .filter(([, set]) => set.count > 0)
        .map(([key, set]): [string, unknown] => [key, set.ranges])
        .toSorted(([one], [other]) => (one < other ? -1 : 1))
    }
  }

  it('is the same for all who know the same values, in whatever order and however often they came', () => {
    fc.assert(
      fc.property(
        fc.array(value, { maxLength: 12 }).chain((values) =>
          fc.tuple(
            fc.constant(values),
            fc.shuffledSubarray([...values, ...values], {
              minLength: values.length * 2,
              maxLength: values.length * 2
            })
          )
        ),
        ([values, shuffled]) => {
          expect(facts(shuffled)).toEqual(facts(values))
        }
      )
    )
  })

  it('reads what was read as it was written', () => {
    fc.assert(
      fc.property(heard, fc.nat(), (positions, question) => {
        const said = decodeHearing(encodeHearing({ positions, question }))
        expect([said.question, read(said.positions)]).toEqual([question, read(positions)])
        expect(said.positions.covers(positions) && positions.covers(said.positions)).toBe(true)
      })
    )
  })

  it('reads definitions as they were written', () => {
    fc.assert(
      fc.property(definition, (one) => {
        expect(decodeDefinition(encodeDefinition(one), one.creator)).toEqual(one)
      })
    )
  })

  it('takes no word of one peer about another', () => {
    const state = new GroupState()
    const payload = encodeMembership({ life: 1, joined: true, full: false })
    const forged = {
      publisher: PEERS[0] ?? '',
      suffix: `/${PEERS[1]}/member`,
      key: undefined,
      payload
    }
    expect(state.apply(forged)).toBeUndefined()
    expect(state.members.size).toBe(0)
  })
})

/** Members as pure machines: what each knows is a table that it merges from the others when they meet. */
describe('groups: assignment', () => {
  interface Machine {
    readonly id: string
    readonly table: SlotTable
    readonly busy: Set<number>
  }
  const owned = ({ id, table: known }: Machine): number[] =>
    [...known.entries()].filter(([, one]) => one?.owner === id).map(([slot]) => slot)

  const turn = (machine: Machine, ids: readonly string[]): void => {
    const members = new Map<string, MemberView>(
      ids.map((id) => [id, { life: 1, standing: 'live', full: false }])
    )
    const { claims, releases } = assign({
      self: machine.id,
      life: 1,
      table: machine.table,
      members,
      isBusy: (slot) => machine.busy.has(slot),
      evicted: new Set(),
      kept: new Set(),
      mayClaim: true
    })
    for (const [slot, one] of [...claims, ...releases]) machine.table.put(slot, one)
  }

  it('never gives a slot to two, whatever members know of each other while some join', () => {
    const step = fc.record({
      who: fc.nat({ max: 3 }),
      hears: fc.nat({ max: 3 }),
      busy: fc.array(fc.nat({ max: SLOTS - 1 }), { maxLength: 40 }),
      sees: fc.integer({ min: 1, max: 15 })
    })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const machines = PEERS.map((id) => ({
          id,
          table: new SlotTable(),
          busy: new Set<number>()
        }))
        const [first] = machines
        if (first === undefined) return
        turn(first, [first.id])
        // Who joins hears of the group before it acts.
        for (const one of machines) one.table.merge(first.table)
        for (const { busy, hears, sees, who } of steps) {
          const machine = machines[who] as Machine
          machine.table.merge((machines[hears] as Machine).table)
          machine.busy.clear()
          for (const slot of busy) machine.busy.add(slot)
          const ids = PEERS.filter((id, bit) => id === machine.id || (sees & (1 << bit)) !== 0)
          const before = new Set(owned(machine))
          // It knows of every owner that it may not be gone: only what it sees is live.
          const members = new Map<string, MemberView>(
            PEERS.map((id) => [
              id,
              { life: 1, standing: ids.includes(id) ? 'live' : 'silent', full: false }
            ])
          )
          const plan = assign({
            self: machine.id,
            life: 1,
            table: machine.table,
            members,
            isBusy: (slot) => machine.busy.has(slot),
            evicted: new Set(),
            kept: new Set(),
            mayClaim: true
          })
          for (const slot of plan.releases.keys()) {
            expect(machine.busy.has(slot)).toBe(false)
            expect(before.has(slot)).toBe(true)
          }
          for (const [slot, one] of [...plan.claims, ...plan.releases]) machine.table.put(slot, one)
          for (let slot = 0; slot < SLOTS; slot++) {
            const owners = machines.filter((one) => one.table.get(slot)?.owner === one.id)
            expect(owners.length).toBeLessThanOrEqual(1)
          }
        }
      }),
      { numRuns: 25 }
    )
  })

  it('comes to rest with every slot at its desired owner', () => {
    const machines = PEERS.map((id) => ({ id, table: new SlotTable(), busy: new Set<number>() }))
    for (let round = 0; round < 4; round++) {
      for (const machine of machines) {
        turn(machine, PEERS)
        for (const other of machines) other.table.merge(machine.table)
      }
    }
    for (const machine of machines) {
      for (const slot of owned(machine)) expect(desiredOwner(slot, PEERS)).toBe(machine.id)
    }
    expect(machines.flatMap(owned)).toHaveLength(SLOTS)
  })

  it('ends a lease at once where the member was met and is down, else after six seconds', () => {
    const silent = { joined: true, up: false, met: false, silentSince: 1000 }
    expect(standingOf({ ...silent, up: true }, 0)).toBe('live')
    expect(standingOf({ ...silent, met: true }, 1001)).toBe('ended')
    expect(standingOf(silent, 6999)).toBe('silent')
    expect(standingOf(silent, 7000)).toBe('ended')
    expect(standingOf({ ...silent, joined: false, up: true }, 0)).toBe('ended')
  })
})
