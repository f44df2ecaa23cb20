import type { Clock } from '../core/clock.ts'
import { LIMITS } from '../core/limits.ts'
import type { CommitQueue } from './commit-queue.ts'
import type { RetentionPolicy, TrimReport } from './contract.ts'
import { cutBelow } from './held-log.ts'
import type { Cut } from './held-log.ts'
import { compactable } from './keep-last.ts'
import type { Compaction } from './keep-last.ts'
import { logName, namePrefix, numberKey, SPACE } from './keys.ts'
import type { Journal, PlacedRow } from './journal.ts'
import type { Level } from './level.ts'
import type { LogSlot, Mirror } from './mirror.ts'
import { encodeBounds, encodeRecordRow } from './rows.ts'
import type { JournalRow } from './rows.ts'
import { visitRows } from './row-scan.ts'

export interface RetentionComponents {
  readonly clock: Clock
  readonly queue: CommitQueue
  readonly journal: Journal
  readonly mirror: () => Mirror
  readonly level: () => Level
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
  /** Last known age limit by channel: what is older is not even taken. */
  readonly #maxAges = new Map<string, number>()
  /** State of a channel when it was compacted last, so that nothing is read while nothing changes. */
  readonly #compacted = new Map<string, string>()
  #turn: Promise<unknown> = Promise.resolve()

  constructor(components: RetentionComponents) {
    this.#components = components
  }

  maxAgeMs(channel: string): number {
    return this.#maxAges.get(channel) ?? Infinity
  }

  /** One trim at a time. */
  trim(channel: string, policy: RetentionPolicy): Promise<TrimReport> {
    if (policy.keepLast === undefined) this.#maxAges.set(channel, policy.maxAgeMs)
    else this.#maxAges.delete(channel)
    const done = this.#turn.then(() => this.#trim(channel, policy))
    this.#turn = done.catch(() => undefined)
    return done
  }

  /** Resolves when no trim is under way. */
  async idle(): Promise<void> {
    await this.#turn
  }

  /** Finishes a trim that was cut off after it had written the new floors. */
  async finish(channel: string): Promise<void> {
    const mirror = this.#components.mirror()
    await this.#clear(channel, [...mirror.logs(channel)], mirror.journal(channel).first)
  }

  async #trim(channel: string, policy: RetentionPolicy): Promise<TrimReport> {
    const report: Running = { records: 0, messages: 0, bytes: 0 }
    if (policy.keepLast === undefined) {
      while (await this.#cutOnce(channel, policy, report));
      await this.#giveUpHoles(channel, policy)
      while (await this.#cutOnce(channel, policy, report));
    } else {
      await this.#compact(channel, policy, report)
    }
    await this.#dropStubs(channel, policy)
    return report
  }

  /** One commit of a trim; false when there was nothing to do. */
  async #cutOnce(channel: string, policy: RetentionPolicy, report: Running): Promise<boolean> {
    const mirror = this.#components.mirror()
    const journal = mirror.journal(channel)
    const horizon = this.#components.clock.now() - policy.maxAgeMs
    let bytes = mirror.usage(channel).bytes
    let messages = journal.next - journal.first
    const rows: PlacedRow[] = []
    const isBelowFloor = (row: JournalRow): boolean => {
      const slot = mirror.log({ channel, publisher: row.publisher, session: row.session })
      return slot === undefined || row.first < slot.committed.floor
    }
    await this.#components.journal.rows(channel, journal.first, (at) => {
      const size = at.to - at.from + 1
      const old = at.row === undefined || at.row.bornAt < horizon || isBelowFloor(at.row)
      if (!old && bytes <= policy.maxBytes && messages <= policy.maxMessages) return false
      rows.push(at)
      bytes -= at.row?.bytes ?? 0
      messages -= size
      return rows.length < CHUNK_ROWS
    })
    if (rows.length === 0) return false
    await this.#cut(channel, rows, report)
    return rows.length === CHUNK_ROWS
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
    await this.#commitCuts(channel, [...cuts.entries()], first)
    if (queue.refusal === undefined) await this.#clear(channel, [...cuts.keys()], first)
  }

  async #commitCuts(
    channel: string,
    cuts: readonly (readonly [LogSlot, Cut])[],
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
          slot.change((log) => cutBelow(log, cut))
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
    for (;;) {
      const { first, next } = mirror.journal(channel)
      const crowded = first === next && mirror.usage(channel).bytes > policy.maxBytes
      let oldest: LogSlot | undefined
      for (const slot of mirror.logs(channel)) {
        const island = slot.committed.islands[0]
        const best = oldest?.committed.islands[0]
        if (island !== undefined && (best === undefined || island.bornAt < best.bornAt))
          oldest = slot
      }
      const island = oldest?.committed.islands[0]
      if (oldest === undefined || island === undefined) return
      if (!crowded && island.bornAt >= horizon) return
      const counts = await this.#countBelow(oldest, island.from)
      await this.#commitCuts(channel, [[oldest, { floor: island.from, ...counts }]], first)
      await this.#clear(channel, [oldest], first)
    }
  }

  async #countBelow(slot: LogSlot, sequence: number): Promise<{ records: number; bytes: number }> {
    const counts = { records: 0, bytes: 0 }
    const range = {
      gte: numberKey(slot.recordPrefix, slot.committed.floor),
      lt: numberKey(slot.recordPrefix, sequence)
    }
    await visitRows(this.#components.level(), range, (_key, value) => {
      counts.records++
      counts.bytes += value.length
      return true
    })
    return counts
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
    const isStub = ({ planned, pending }: LogSlot): boolean =>
      planned.records === 0 &&
      planned.islands.length === 0 &&
      planned.head < planned.floor &&
      planned.bornAt < horizon &&
      pending.size === 0
    const stubs = [...mirror.logs(channel)].filter(isStub)
    if (stubs.length === 0) return
    await queue.run(false, (commit) => {
      for (const slot of stubs) {
        if (!isStub(slot)) continue
        commit.delete(slot.headKey)
        mirror.delete(slot)
      }
      return true
    })
  }
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
