import type { Clock } from '../core/clock.ts'
import { LIMITS } from '../core/limits.ts'
import type { CommitQueue } from './commit-queue.ts'
import type { LogRef, Received, RetentionPolicy, SequenceRange, TrimReport } from './contract.ts'
import { cutBelow, lessened, without } from './held-log.ts'
import type { Cut, HeldLog, Island } from './held-log.ts'
import { countBelow, wholeFloor } from './floor.ts'
import { compactable } from './keep-last.ts'
import type { Compaction } from './keep-last.ts'
import { logName, namePrefix, numberKey, SPACE } from './keys.ts'
import type { Journal, PlacedRow } from './journal.ts'
import type { Level } from './level.ts'
import { readRows } from './log-reader.ts'
import type { LogSlot, Mirror } from './mirror.ts'
import { encodeBounds, encodeRecordRow } from './rows.ts'
import type { JournalRow } from './rows.ts'

export interface RetentionComponents {
  readonly clock: Clock
  readonly queue: CommitQueue
  readonly journal: Journal
  readonly mirror: () => Mirror
  readonly level: () => Level
  /** What a channel keeps, where it is known before its first trim. */
  readonly policy: (channel: string) => RetentionPolicy | undefined
  /** What is missing of a log in a range is waited for no more: it is too old. */
  readonly giveUp: (slot: LogSlot, range: SequenceRange) => Promise<void>
}

/** Journal rows looked at for one commit of a trim. */
const CHUNK_ROWS = 4096

interface Running {
  records: number
  messages: number
  bytes: number
}

/**
 * Takes away what is too old or too much, whole records, in the order of the journal. The new floors are written
 * first and what is below them is cleared afterwards; where that was cut off, it is done at the next start.
 */
export class Retention {
  readonly #components: RetentionComponents
  /** What each channel was trimmed by last. */
  readonly #policies = new Map<string, RetentionPolicy>()
  /** State of a channel when it was compacted last, so that nothing is read while nothing changes. */
  readonly #compacted = new Map<string, string>()
  #turn: Promise<unknown> = Promise.resolve()

  constructor(components: RetentionComponents) {
    this.#components = components
  }

  /** Age above which records of a channel are not even taken: of last values, none. */
  maxAgeMs(channel: string): number {
    const policy = this.#policies.get(channel) ?? this.#components.policy(channel)
    return policy === undefined || policy.keepLast !== undefined ? Infinity : policy.maxAgeMs
  }

  /** One trim at a time. */
  trim(channel: string, policy: RetentionPolicy, received?: Received): Promise<TrimReport> {
    this.#policies.set(channel, policy)
    return this.alone(() => this.#trim(channel, policy, received))
  }

  /** Runs something while nothing is trimmed, one after the other. */
  alone<Result>(run: () => Promise<Result>): Promise<Result> {
    const done = this.#turn.then(run)
    this.#turn = done.catch(() => undefined)
    return done
  }

  /** Resolves when no trim is under way. */
  async idle(): Promise<void> {
    await this.#turn
  }

  /** Raises the floor of one log, and clears below. */
  raise(slot: LogSlot, floor: number): Promise<void> {
    return this.alone(async () => {
      const { level, queue } = this.#components
      const whole = await wholeFloor(level(), slot, floor)
      if (whole <= slot.committed.floor) return
      const { channel } = slot.committed
      const { first } = this.#components.mirror().journal(channel)
      // From here on nothing is accepted below; what had been is written before it is counted.
      const commitFloor = slot.plan((log) => cutBelow(log, { floor: whole, records: 0, bytes: 0 }))
      await queue.run(false, () => true)
      const gone = await countBelow(level(), slot, whole)
      const cut = (): void => {
        commitFloor()
        slot.change((log) => lessened(log, gone))
      }
      await this.#commitCuts(channel, [[slot, cut]], first)
      await this.#clear(channel, [slot], first)
    })
  }

  /** Finishes a trim that was cut off after it had written the new floors. */
  async finish(channel: string): Promise<void> {
    const mirror = this.#components.mirror()
    await this.#clear(channel, [...mirror.logs(channel)], mirror.journal(channel).first)
  }

  async #trim(
    channel: string,
    policy: RetentionPolicy,
    received: Received | undefined
  ): Promise<TrimReport> {
    const report: Running = { records: 0, messages: 0, bytes: 0 }
    if (policy.keepLast === undefined) {
      const rule = { policy, received: policy.untilReceived ? received : undefined }
      while (await this.#cutOnce(channel, rule, report));
      await this.#giveUpHoles(channel, policy)
      while (await this.#cutOnce(channel, rule, report));
    } else {
      await this.#compact(channel, policy, report)
    }
    await this.#dropStubs(channel, policy)
    return report
  }

  /** One commit of a trim; false when there was nothing to do. */
  async #cutOnce(
    channel: string,
    { policy, received }: { policy: RetentionPolicy; received: Received | undefined },
    report: Running
  ): Promise<boolean> {
    const mirror = this.#components.mirror()
    const journal = mirror.journal(channel)
    const horizon = this.#components.clock.now() - policy.maxAgeMs
    let bytes = mirror.usage(channel).bytes
    let messages = journal.next - journal.first
    const rows: PlacedRow[] = []
    const unread = await this.#lateAbove(channel, received?.offset)
    const isBelowFloor = (row: JournalRow): boolean => {
      const slot = mirror.log({ channel, publisher: row.publisher, session: row.session })
      return slot === undefined || row.first < slot.committed.floor
    }
    const isDone = ({ row, to }: PlacedRow): boolean =>
      row === undefined ||
      row.bornAt < horizon ||
      isBelowFloor(row) ||
      (received !== undefined &&
        to < received.offset &&
        row.first < (unread.get(logName(row)) ?? Infinity) &&
        row.first + row.count - 1 <= received.sequence({ channel, ...refOf(row) }))
    const isFull = (): boolean =>
      policy.onFull === 'trim' && (bytes > policy.maxBytes || messages > policy.maxMessages)
    await this.#components.journal.rows(channel, journal.first, (at) => {
      const size = at.to - at.from + 1
      if (!isDone(at) && !isFull()) return false
      rows.push(at)
      bytes -= at.row?.bytes ?? 0
      messages -= size
      return rows.length < CHUNK_ROWS
    })
    if (rows.length === 0) return false
    await this.#cut(channel, rows, report)
    return rows.length === CHUNK_ROWS
  }

  /**
   * Per log, the first sequence of what came late and stands at or above `offset`: a floor above it would take it
   * away before it has been read.
   */
  async #lateAbove(channel: string, offset: number | undefined): Promise<Map<string, number>> {
    const late = new Map<string, number>()
    if (offset === undefined) return late
    await this.#components.journal.rows(channel, offset, ({ row }) => {
      if (row?.late !== true) return true
      const name = logName(row)
      late.set(name, Math.min(row.first, late.get(name) ?? Infinity))
      return true
    })
    return late
  }

  /** Raises floors over the rows, in one synced commit, and clears below. */
  async #cut(channel: string, rows: readonly PlacedRow[], report: Running): Promise<void> {
    const { queue } = this.#components
    const mirror = this.#components.mirror()
    const cuts = cutsOf(channel, rows, mirror)
    const first = (rows.at(-1)?.to ?? -1) + 1
    for (const { row } of rows) {
      if (row === undefined) continue
      report.records++
      report.messages += row.count
      report.bytes += row.bytes
    }
    const changes = Array.from(cuts, ([slot, cut]): [LogSlot, () => void] => [
      slot,
      () => slot.change((log) => cutBelow(log, cut))
    ])
    await this.#commitCuts(channel, changes, first)
    if (queue.refusal === undefined) await this.#clear(channel, [...cuts.keys()], first)
  }

  async #commitCuts(
    channel: string,
    cuts: readonly (readonly [LogSlot, () => void])[],
    first: number
  ): Promise<void> {
    const { journal, queue } = this.#components
    const mirror = this.#components.mirror()
    let index = -1
    await queue.run(true, async (commit) => {
      const bounds = mirror.journal(channel)
      if (index === -1) {
        index = 0
        commit.put(trimKey(channel), Buffer.alloc(0))
        commit.put(namePrefix(SPACE.bounds, channel), encodeBounds(first, bounds.tail))
        for (const [slot, cut] of cuts) {
          cut()
          commit.logs.add(slot)
        }
        commit.written.push(() => {
          bounds.first = Math.max(bounds.first, first)
        })
      }
      // What stood above a hole that has been given up is deliverable now.
      for (; index < cuts.length; index++) {
        const slot = cuts[index]?.[0]
        if (slot !== undefined && !(await journal.follow(slot, commit))) return false
      }
      return true
    })
  }

  async #clear(channel: string, slots: readonly LogSlot[], first: number): Promise<void> {
    const { queue } = this.#components
    const level = this.#components.level()
    const mirror = this.#components.mirror()
    for (const slot of slots) {
      const { floor } = slot.committed
      await level.clear({ gte: slot.recordPrefix, lt: numberKey(slot.recordPrefix, floor) })
    }
    const { prefix } = mirror.journal(channel)
    await level.clear({ gte: prefix, lt: numberKey(prefix, first) })
    await queue.run(false, (commit) => {
      commit.delete(trimKey(channel))
      return true
    })
  }

  /**
   * What is missing below an island is older than the island: where even that is too old, or the channel is too
   * large with nothing deliverable left in it, the hole is given up.
   */
  async #giveUpHoles(channel: string, policy: RetentionPolicy): Promise<void> {
    const { clock } = this.#components
    const mirror = this.#components.mirror()
    const horizon = clock.now() - policy.maxAgeMs
    const isCrowded = (): boolean => {
      const { first, next } = mirror.journal(channel)
      const isOver = mirror.usage(channel).bytes > policy.maxBytes
      return policy.onFull === 'trim' && isOver && first === next
    }
    for (let hole = oldestHole(mirror, channel); hole !== undefined;) {
      if (!isCrowded() && hole.island.bornAt >= horizon) break
      const { island, slot } = hole
      await this.#components.giveUp(slot, { from: slot.committed.floor, to: island.from - 1 })
      hole = oldestHole(mirror, channel)
      // It is being filled just now, and is looked at again by the next trim.
      if (hole?.island === island) break
    }
    for (const slot of mirror.logs(channel)) {
      if (!slot.isIncomplete) continue
      if (isCrowded() || (await this.#isSucceededBefore(slot, horizon))) {
        await this.#components.giveUp(slot, { from: slot.committed.floor, to: Infinity })
      }
    }
  }

  /** Had a session after this one begun before `ms`? Then nothing of this one is younger. */
  async #isSucceededBefore(slot: LogSlot, ms: number): Promise<boolean> {
    const later = slot.siblings.slice(slot.siblings.indexOf(slot) + 1)
    const next = later.find(({ committed }) => committed.records > 0)
    if (next === undefined) return false
    const { floor } = next.committed
    const range = { from: floor, to: Number.MAX_SAFE_INTEGER, maxBytes: 1 }
    const { rows } = await readRows(this.#components.level(), next, range)
    return rows[0] !== undefined && rows[0].bornAt < ms
  }

  /** Keeps the newest values; bodies of others go, their headers stay while older records do. */
  async #compact(channel: string, policy: RetentionPolicy, report: Running): Promise<void> {
    const { clock, journal } = this.#components
    const mirror = this.#components.mirror()
    const bounds = mirror.journal(channel)
    // Age matters in steps that are small against it.
    const step = Math.floor(clock.now() / Math.max(1, policy.maxAgeMs / 16))
    const limits = [policy.maxAgeMs, policy.maxBytes, policy.maxMessages, policy.keepLast].join()
    const state = `${bounds.first}/${bounds.next}/${step}/${limits}`
    if (this.#compacted.get(channel) === state) return
    const found = await compactable({
      journal,
      channel,
      bounds,
      policy,
      now: clock.now(),
      bytes: mirror.usage(channel).bytes
    })
    for (let at = 0; at < found.drop.length; at += LIMITS.commitRecords) {
      await this.#commitCompaction(channel, found.drop.slice(at, at + LIMITS.commitRecords), report)
    }
    if (found.gone.length > 0) await this.#cut(channel, found.gone, { ...report })
    this.#compacted.set(channel, state)
  }

  async #commitCompaction(
    channel: string,
    drop: readonly Compaction[],
    report: Running
  ): Promise<void> {
    const mirror = this.#components.mirror()
    await this.#components.queue.run(true, (commit) => {
      for (const { record, bornAt, late } of drop) {
        const slot = mirror.log({ ...record.header, channel })
        if (slot === undefined || record.header.first < slot.committed.floor) continue
        const head = record.bytes.subarray(0, record.headLength)
        const key = numberKey(slot.recordPrefix, record.header.first)
        commit.put(key, encodeRecordRow(head, { late, headOnly: true, bornAt }))
        const bytes = record.bytes.length - head.length
        slot.change((log) => ({ ...log, bytes: Math.max(0, log.bytes - bytes) }))
        commit.logs.add(slot)
        report.records++
        report.messages += record.header.count
        report.bytes += bytes
      }
      return true
    })
  }

  /** A log of which nothing is left is remembered for twice the age limit, so that nobody brings it back. */
  async #dropStubs(channel: string, { maxAgeMs }: RetentionPolicy): Promise<void> {
    const { clock, queue } = this.#components
    const mirror = this.#components.mirror()
    const horizon = clock.now() - 2 * maxAgeMs
    const isStub = ({ ahead, planned, pending }: LogSlot): boolean =>
      planned.records === 0 &&
      planned.islands.length === 0 &&
      planned.expected <= planned.head &&
      isVoid(planned) &&
      planned.bornAt < horizon &&
      pending.size === 0 &&
      ahead === 0
    const stubs = [...mirror.logs(channel)].filter(isStub)
    if (stubs.length === 0) return
    await queue.run(false, (commit) => {
      for (const slot of stubs) {
        if (!isStub(slot)) continue
        commit.delete(slot.headKey)
        commit.gone.push(slot.ref)
        mirror.delete(slot)
      }
      return true
    })
  }
}

/** Is all that counts as held given up? */
function isVoid({ floor, head, voids }: HeldLog): boolean {
  if (head < floor) return true
  return voids.reduce<readonly SequenceRange[]>(without, [{ from: floor, to: head }]).length === 0
}

function refOf({ publisher, session }: JournalRow): Pick<LogRef, 'publisher' | 'session'> {
  return { publisher, session }
}

/** The log with the oldest island above a hole, of all in a channel. */
function oldestHole(
  mirror: Mirror,
  channel: string
): { slot: LogSlot; island: Island } | undefined {
  let oldest: { slot: LogSlot; island: Island } | undefined
  for (const slot of mirror.logs(channel)) {
    const island = slot.committed.islands[0]
    if (island === undefined) continue
    if (oldest === undefined || island.bornAt < oldest.island.bornAt) oldest = { slot, island }
  }
  return oldest
}

function trimKey(channel: string): Buffer {
  return Buffer.concat([namePrefix(SPACE.meta, 'trim'), Buffer.from(channel)])
}

/** Per log, what goes with these journal rows. */
function cutsOf(channel: string, rows: readonly PlacedRow[], mirror: Mirror): Map<LogSlot, Cut> {
  const cuts = new Map<LogSlot, Cut>()
  const slots = new Map<string, LogSlot | undefined>()
  for (const { row } of rows) {
    if (row === undefined) continue
    const name = logName(row)
    if (!slots.has(name)) {
      slots.set(name, mirror.log({ channel, publisher: row.publisher, session: row.session }))
    }
    const slot = slots.get(name)
    if (slot === undefined) continue
    const cut = cuts.get(slot) ?? { floor: 0, records: 0, bytes: 0 }
    cuts.set(slot, {
      floor: Math.max(cut.floor, row.first + row.count),
      records: cut.records + 1,
      bytes: cut.bytes + row.bytes
    })
  }
  return cuts
}
