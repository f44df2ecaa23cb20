import type { Clock, Timer } from '../../src/core/clock.ts'
import type { RunTime } from '../runner/contract.ts'

interface Task {
  readonly ms: number
  readonly run: () => void
  timer: Timer | undefined
}

/** The longest that a timer of the platform waits, ms. */
const LONGEST_MS = 2 ** 31 - 1

/**
 * Time of a run on the wall. It stands at 0 until `begin`: what is due at 0 is done before, so that the load meets a
 * mesh that works.
 */
export class WallTime implements RunTime {
  readonly #clock: Clock
  readonly #onError: (error: unknown) => void
  readonly #tasks = new Set<Task>()
  #beganMs: number | undefined
  #ended = false

  constructor(clock: Clock, onError: (error: unknown) => void) {
    this.#clock = clock
    this.#onError = onError
  }

  get nowMs(): number {
    if (this.#beganMs === undefined) return 0
    // Whole ones, as in virtual time.
    return Math.floor(this.#clock.monotonic() - this.#beganMs)
  }

  schedule(ms: number, callback: () => void): { cancel(): void } {
    const task: Task = { ms, run: callback, timer: undefined }
    this.#tasks.add(task)
    if (ms <= 0) this.#clock.soon(() => this.#run(task))
    else if (this.#beganMs !== undefined) this.#arm(task)
    return { cancel: () => this.#cancel(task) }
  }

  begin(): void {
    this.#beganMs = this.#clock.monotonic()
    for (const task of this.#tasks) if (task.ms > 0) this.#arm(task)
  }

  /** Nothing runs from now on. */
  end(): void {
    this.#ended = true
    for (const task of this.#tasks) this.#cancel(task)
  }

  #arm(task: Task): void {
    task.timer = this.#clock.after(Math.min(task.ms, LONGEST_MS), () => this.#run(task))
  }

  #cancel(task: Task): void {
    task.timer?.cancel()
    this.#tasks.delete(task)
  }

  #run(task: Task): void {
    if (this.#ended || !this.#tasks.delete(task)) return
    try {
      task.run()
    } catch (error) {
      this.#onError(error)
    }
  }
}
