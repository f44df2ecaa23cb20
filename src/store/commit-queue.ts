import type { SkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { JournalEntry, LogRef } from './contract.ts'
import type { Level, Operation } from './level.ts'
import type { LogSlot } from './mirror.ts'

/** What goes to the disk together. */
export class Commit {
  readonly operations: Operation[] = []
  /** Logs whose head row changes. */
  readonly logs = new Set<LogSlot>()
  /** Logs that are forgotten. */
  readonly gone: LogRef[] = []
  readonly entries = new Map<string, JournalEntry[]>()
  /** Runs when the commit is written, before its jobs settle. */
  readonly written: (() => void)[] = []
  bytes = 0
  /** Bytes of entries that had to be read for it. */
  loaded = 0

  put(key: Buffer, value: Buffer): void {
    this.operations.push({ type: 'put', key, value })
    this.bytes += key.length + value.length
  }

  delete(key: Buffer): void {
    this.operations.push({ type: 'del', key })
    this.bytes += key.length
  }

  addEntry(entry: JournalEntry): void {
    const entries = this.entries.get(entry.channel)
    if (entries === undefined) this.entries.set(entry.channel, [entry])
    else entries.push(entry)
  }

  get full(): boolean {
    return (
      this.operations.length >= LIMITS.commitRecords * 2 ||
      this.bytes + this.loaded >= LIMITS.commitBytes
    )
  }
}

/** One change of the store. Jobs are built in the order they were queued. */
export interface Job {
  readonly sync: boolean
  /** Adds its writes to the commit; false when it needs another commit to go on. */
  build(commit: Commit): boolean | Promise<boolean>
  settle(): void
  fail(error: unknown): void
}

export interface CommitQueueComponents {
  readonly level: () => Level
  /** Adds what every commit carries: head rows. */
  readonly complete: (commit: Commit) => void
  /** Called when a commit is on disk (or with the system, unsynced), before its jobs settle. */
  readonly written: (commit: Commit) => void
  /** What a failed write means; every waiting job is rejected with it. */
  readonly failed: (error: unknown) => Promise<SkeinError>
}

/**
 * Writes jobs in order, everything that waits in one batch: while one commit is being written the next gathers,
 * so that the cost of a sync is shared by all that came in meanwhile.
 */
export class CommitQueue {
  readonly #components: CommitQueueComponents
  #waiting: Job[] = []
  #running: Promise<void> | undefined
  #refusal: SkeinError | undefined

  constructor(components: CommitQueueComponents) {
    this.#components = components
  }

  /** Why nothing is taken; undefined while the queue works. */
  get refusal(): SkeinError | undefined {
    return this.#refusal
  }

  push(job: Job): void {
    if (this.#refusal !== undefined) {
      job.fail(this.#refusal)
      return
    }
    this.#waiting.push(job)
    this.#running ??= this.#run()
  }

  /** A job as a promise. */
  run(sync: boolean, build: Job['build']): Promise<void> {
    return new Promise((resolve, reject) => {
      this.push({ sync, build, settle: resolve, fail: reject })
    })
  }

  /** Resolves when nothing is waiting any more; never rejects. */
  async idle(): Promise<void> {
    while (this.#running !== undefined) await this.#running
  }

  /** Refuses what is waiting and what comes, until `open`. */
  close(refusal: SkeinError): void {
    this.#refusal = refusal
    const waiting = this.#waiting
    this.#waiting = []
    for (const job of waiting) job.fail(refusal)
  }

  open(): void {
    this.#refusal = undefined
  }

  async #run(): Promise<void> {
    // Everything that is pushed in this turn of the microtask queue goes into the first commit.
    await Promise.resolve()
    while (this.#waiting.length > 0) await this.#commit()
    this.#running = undefined
  }

  async #commit(): Promise<void> {
    const { complete, failed, level, written } = this.#components
    const commit = new Commit()
    const done: Job[] = []
    let current: Job | undefined
    try {
      let sync = false
      while (!commit.full) {
        current = this.#waiting[0]
        if (current === undefined) break
        const built = current.build(commit)
        sync ||= current.sync
        if (!(typeof built === 'boolean' ? built : await built)) break
        if (this.#refusal !== undefined) break
        done.push(current)
        this.#waiting.shift()
      }
      complete(commit)
      if (commit.operations.length > 0) await level().batch(commit.operations, { sync } as object)
      written(commit)
      for (const job of done) job.settle()
    } catch (error) {
      const refusal = await failed(error)
      for (const job of done) job.fail(refusal)
      this.close(refusal)
    }
  }
}
