import { systemClock } from '../core/clock.ts'

/** One line on a terminal that says how far something is. */
export interface Progress {
  /** `share`: 0 to 1; undefined where nobody knows. */
  show(share: number | undefined, text: string): void
  clear(): void
}

const WIDTH = 24
/** Between two changes of the line, ms: faster ones nobody can read. */
const LEAST_MS = 100

/** On standard error, where that is a terminal and `wanted`; else it says nothing. */
export function createProgress(wanted: boolean): Progress {
  const { stderr } = process
  if (!wanted || !stderr.isTTY) return { show: () => undefined, clear: () => undefined }
  let shownAt = -Infinity
  return {
    show(share, text) {
      const now = systemClock.monotonic()
      if (now - shownAt < LEAST_MS) return
      shownAt = now
      const bar = share === undefined ? '' : `${barOf(share)} `
      stderr.write(`\r${`${bar}${text}`.slice(0, Math.max(20, stderr.columns - 1))}\u001b[K`)
    },
    clear() {
      shownAt = -Infinity
      stderr.write('\r\u001b[K')
    }
  }
}

function barOf(share: number): string {
  const full = Math.round(Math.max(0, Math.min(1, share)) * WIDTH)
  return `${'█'.repeat(full)}${'░'.repeat(WIDTH - full)} ${String(Math.floor(share * 100)).padStart(3)} %`
}
