import { LIMITS } from '../core/limits.ts'
import { closeCursor, openCursor } from './cursor.ts'
import { compareHybrid, type HybridTime } from './hybrid-clock.ts'
import { ProtoReader, textSize, writeText, writeVarint } from './protobuf.ts'

/** The place of a message in the order of time, over all channels and publishers: the same on every node. */
export interface TimePlace {
  readonly time: HybridTime
  /** PeerId, as text. */
  readonly publisher: string
  /** 16 hex digits. */
  readonly session: string
  readonly sequence: number
}

/** Beside the version of a place in a journal, so that neither is taken for the other. */
const VERSION = 2
const SESSION_BYTES = 8

/** Negative when `a` comes before `b`, 0 when they are the same place. */
export function comparePlaces(a: TimePlace, b: TimePlace): number {
  return (
    compareHybrid(a.time, b.time) ||
    compareTexts(a.publisher, b.publisher) ||
    compareTexts(a.session, b.session) ||
    a.sequence - b.sequence
  )
}

/** As text, at most LIMITS.cursorBytes of URL-safe characters. */
export function encodeTimeCursor({ publisher, sequence, session, time }: TimePlace): string {
  const bytes = Buffer.allocUnsafe(LIMITS.cursorBytes)
  bytes[0] = VERSION
  let at = 1 + bytes.write(session, 1, SESSION_BYTES, 'hex')
  for (const value of [time.ms, time.counter, sequence]) at = writeVarint(bytes, at, value)
  return closeCursor(bytes, writeText(bytes, at, publisher, textSize(publisher)))
}

/** Throws ERR_CURSOR_UNKNOWN when the text is no such cursor, or was cut or altered. */
export function decodeTimeCursor(text: string): TimePlace {
  return openCursor(text, VERSION, (bytes, end) => {
    const reader = new ProtoReader(bytes, Math.min(end, 1 + SESSION_BYTES), end)
    const time = { ms: reader.varint(), counter: reader.varint() }
    const sequence = reader.varint()
    const publisher = bytes.toString('utf8', reader.position, end)
    return { time, publisher, session: bytes.toString('hex', 1, 1 + SESSION_BYTES), sequence }
  })
}

function compareTexts(a: string, b: string): number {
  if (a === b) return 0
  return a < b ? -1 : 1
}
