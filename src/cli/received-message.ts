import { isUtf8 } from 'node:buffer'
import { EVENT_ATTRIBUTES, isJsonType, isTextType } from '../sidecar/events/cloud-event.ts'
import { escapeControls } from './terminal.ts'

/** A message as the event stream shows it. */
export interface ReceivedEvent {
  readonly skeinid: string
  readonly skeintopic: string
  readonly skeinattempt: number
  readonly skeinfence?: number
  readonly skeinlate?: boolean
  readonly skeinheaders?: string
  readonly time: string
  readonly datacontenttype?: string
  readonly partitionkey?: string
  readonly data_base64: string
  readonly [attribute: string]: unknown
}

/** Of these, only those of a message that came in as an event are headers of it. */
const CONTEXT: ReadonlySet<string> = new Set([
  'specversion',
  'id',
  'source',
  'type',
  'subject',
  'time',
  'dataschema'
])

export function payloadOf(event: ReceivedEvent): Buffer {
  return Buffer.from(event.data_base64, 'base64')
}

function headersOf(event: ReceivedEvent): Record<string, string> {
  const [, , sequence = ''] = event.skeinid.split('/')
  const isOwn = (name: string): boolean => {
    if (!EVENT_ATTRIBUTES.has(name)) return true
    if (name === 'sequence') return event[name] !== sequence.padStart(16, '0')
    return event['id'] !== event.skeinid && CONTEXT.has(name)
  }
  const own = Object.entries(event).filter(([name]) => isOwn(name))
  const rest = Object.entries(JSON.parse(event.skeinheaders ?? '{}') as Record<string, string>)
  return Object.fromEntries([...own.map(([name, value]) => [name, String(value)]), ...rest])
}

/** JSON stays JSON, text is text; other bytes, and what is not what it says, are base64. */
function payloadFields(event: ReceivedEvent): { payload: unknown } | { payloadBase64: string } {
  const { datacontenttype: type } = event
  const bytes = payloadOf(event)
  if (!isUtf8(bytes)) return { payloadBase64: event.data_base64 }
  const text = bytes.toString('utf8')
  if (type === undefined || isTextType(type)) return { payload: text }
  if (!isJsonType(type)) return { payloadBase64: event.data_base64 }
  try {
    return { payload: JSON.parse(text) as unknown }
  } catch {
    return { payloadBase64: event.data_base64 }
  }
}

/** One line of `skein sub --json`. */
export function jsonLine(event: ReceivedEvent): string {
  // An event may have a source and a sequence of its own.
  const [publisher, , sequence] = event.skeinid.split('/')
  return `${JSON.stringify({
    id: event.skeinid,
    topic: event.skeintopic,
    ...payloadFields(event),
    contentType: event.datacontenttype,
    key: event.partitionkey,
    headers: headersOf(event),
    publisher,
    sequence: Number(sequence),
    time: event.time,
    attempt: event.skeinattempt,
    fence: event.skeinfence,
    late: event.skeinlate
  })}\n`
}

/** One line for people: time, topic, payload. */
export function humanLine(event: ReceivedEvent, terminal: boolean): string {
  const bytes = payloadOf(event)
  const payload = isUtf8(bytes) ? bytes.toString('utf8') : `base64:${event.data_base64}`
  const line = `${event.time} ${event.skeintopic} ${payload}`
  return `${terminal ? escapeControls(line) : line}\n`
}
