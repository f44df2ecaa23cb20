import type { RunTime } from './contract.ts'

export interface Beat {
  readonly perSecond: number
  readonly fromMs: number
  /** Not from here on. */
  readonly untilMs: number
}

/** Calls `beat(k)` at `fromMs` + k / `perSecond`, for k from 0, as long as that is before `untilMs`. */
export function schedule(
  time: RunTime,
  { fromMs, perSecond, untilMs }: Beat,
  beat: (k: number) => void
): void {
  const next = (k: number): void => {
    const atMs = fromMs + (k * 1000) / perSecond
    if (atMs >= untilMs) return
    time.schedule(Math.max(0, Math.floor(atMs) - time.nowMs), () => {
      beat(k)
      next(k + 1)
    })
  }
  next(0)
}
