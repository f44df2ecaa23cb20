import type { DecodedMessage } from '../wire/body.ts'
import { formatMessageId } from '../wire/message-id.ts'
import type { RecordHeader } from '../wire/record.ts'
import { joinTopic } from '../wire/topic.ts'
import type { PayloadFields } from './payload-fields.ts'

/** A message as a filter sees it. */
export interface Subject {
  readonly header: RecordHeader
  /** All messages of its record. */
  readonly messages: readonly DecodedMessage[]
  /** Its place among them. */
  readonly index: number
}

/** One attribute of a message; undefined where it has none of that name. */
export type AttributeReader = (subject: Subject) => string | undefined

const FIELD_PREFIX = 'data.'

const topicOf: AttributeReader = ({ header, index, messages }) => {
  const message = messages[index]
  return message === undefined ? undefined : joinTopic(header.channel, message.suffix)
}
const contentTypeOf: AttributeReader = ({ index, messages }) => messages[index]?.contentType
const keyOf: AttributeReader = ({ index, messages }) => messages[index]?.key

/** What every message has, or may have; no header takes the place of these. */
const OWN: ReadonlyMap<string, AttributeReader> = new Map<string, AttributeReader>([
  ['topic', topicOf],
  ['contenttype', contentTypeOf],
  ['datacontenttype', contentTypeOf],
  ['key', keyOf],
  ['partitionkey', keyOf],
  ['publisher', ({ header }) => header.publisher],
  ['priority', ({ index, messages }) => String(messages[index]?.priority ?? 0)]
])

/** What a message shows as an event where it was not published as one. */
const AS_EVENT: ReadonlyMap<string, AttributeReader> = new Map<string, AttributeReader>([
  ['id', ({ header, index }) => formatMessageId({ ...header, sequence: header.first + index })],
  ['source', ({ header }) => `skein:${header.publisher}`],
  ['type', () => 'skein.message'],
  ['subject', topicOf]
])

/** A message that was published as an event has a header of this name. */
const EVENT_MARK = 'specversion'

/** Reads the attribute `name`; undefined where there can be no such name. */
export function attributeReader(name: string, fields: PayloadFields): AttributeReader | undefined {
  if (name === '' || name === FIELD_PREFIX) return undefined
  const own = OWN.get(name)
  if (own !== undefined) return own
  if (name.startsWith(FIELD_PREFIX)) {
    const field = name.slice(FIELD_PREFIX.length)
    return (subject) => fields.get(subject, field)
  }
  const asEvent = AS_EVENT.get(name)
  return (subject) => {
    const headers = subject.messages[subject.index]?.headers
    if (headers !== undefined && Object.hasOwn(headers, name)) return headers[name]
    // An event without a subject shows none.
    if (name === 'subject' && headers !== undefined && Object.hasOwn(headers, EVENT_MARK))
      return undefined
    return asEvent?.(subject)
  }
}
