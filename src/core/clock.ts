/** A pending timer. */
export interface Timer {
  /** Idempotent; a cancelled timer never fires. */
  cancel(): void
}

/**
 * The only source of time for ranks 1 to 4. The simulator implements the same interface over virtual time,
 * so nothing in those ranks reads a wall clock or sets a timer by itself.
 */
export interface Clock {
  /** Wall clock, milliseconds since 1970. May jump in either direction. */
  now(): number
  /** Milliseconds from an arbitrary start, fractional, never going back. Use it for every duration. */
  monotonic(): number
  /** Calls back once after `ms` milliseconds. Does not keep the process alive. */
  after(ms: number, callback: () => void): Timer
  /** Calls back in the event loop's next turn, after pending I/O had its chance. Keeps the process alive. */
  soon(callback: () => void): void
}

/** The machine's clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(ms, callback) {
    const handle = setTimeout(callback, ms)
    handle.unref()
    return { cancel: () => clearTimeout(handle) }
  },
  soon(callback) {
    setImmediate(callback)
  }
}

/** Resolves after `ms` milliseconds of `clock`, or rejects with the signal's reason as soon as it aborts. */
export function delay(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(signal.reason as Error)
      return
    }
    const onAbort = (): void => {
      timer.cancel()
      reject(signal?.reason as Error)
    }
    const timer = clock.after(ms, () => {
      signal?.removeEventListener('abort', onAbort)
      resolve()
    })
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}

/** Calls `task` every `ms` milliseconds of `clock`, counted from the end of the previous run, until cancelled. */
export function every(clock: Clock, ms: number, task: () => void | Promise<void>): Timer {
  let cancelled = false
  let timer: Timer | undefined
  const arm = (): void => {
    if (cancelled) return
    timer = clock.after(ms, () => {
      const running = task()
      if (running === undefined) arm()
      else void running.then(arm, arm)
    })
  }
  arm()
  return {
    cancel: () => {
      cancelled = true
      timer?.cancel()
    }
  }
}

/** How fast a steady clock goes after the wall clock, ms per ms. */
const STEADY_RATE = 0.5

/**
 * A clock for ages: its `now` begins with the wall clock, goes on with the monotonic one, and follows the wall
 * clock by at most half a millisecond per millisecond, never backwards. So nothing gets old at once because
 * somebody set the clock: while it is years ahead, ages grow half as fast again as they should. A machine that
 * slept, during which many monotonic clocks stand still, has caught up after twice the time it slept: one that
 * sleeps eight hours a day is right before it sleeps again. A new one begins with the wall clock again.
 */
export function steadyClock(clock: Clock): Clock {
  let last = clock.now()
  let lastMonotonic = clock.monotonic()
  return {
    now() {
      const monotonic = clock.monotonic()
      const elapsed = monotonic - lastMonotonic
      lastMonotonic = monotonic
      const most = elapsed * STEADY_RATE
      const behind = clock.now() - (last + elapsed)
      last += elapsed + Math.max(-most, Math.min(most, behind))
      return Math.floor(last)
    },
    monotonic: () => clock.monotonic(),
    after: (ms, callback) => clock.after(ms, callback),
    soon: (callback) => clock.soon(callback)
  }
}
