import { SkeinError } from '../core/errors.ts'
import type { Random } from '../core/random.ts'

const GREATEST_MS = 2 ** 48 - 1

/** Is `text` a session: 16 lower-case hex digits, not all zero? */
export function isSession(text: string): boolean {
  return /^[0-9a-f]{16}$/.test(text) && text !== '0000000000000000'
}

/** Milliseconds since 1970 at which the session began, by its publisher's clock. */
export function sessionMs(session: string): number {
  return Number.parseInt(session.slice(0, 12), 16)
}

/**
 * A new session: 48 bits of `nowMs` and 16 random bits, as 16 hex digits. Greater than `above`, whatever the
 * clock says: where it would not be, the millisecond after that of `above` is taken.
 */
export function newSession(nowMs: number, random: Random, above?: string): string {
  const now = Math.min(GREATEST_MS, Math.max(1, Math.floor(nowMs)))
  const session = format(now, random)
  if (above === undefined || session > above) return session
  if (sessionMs(above) >= GREATEST_MS) {
    throw new SkeinError('ERR_INTERNAL', `no session is greater than ${above}`)
  }
  return format(sessionMs(above) + 1, random)
}

function format(ms: number, random: Random): string {
  return ms.toString(16).padStart(12, '0') + random.int(0x10000).toString(16).padStart(4, '0')
}
