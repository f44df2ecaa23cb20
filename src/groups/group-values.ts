import { z } from 'zod'
import { SkeinError, isSkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { LogRef } from '../store/contract.ts'
import { isPeerId } from '../wire/peer-id.ts'
import { asBuffer, ProtoReader, recordError, WIRE } from '../wire/protobuf.ts'
import { ProtoWriter } from '../wire/proto-writer.ts'
import { parseTopic } from '../wire/topic.ts'
import { isSession } from '../wire/session.ts'
import { decodeVector, encodeVector, type SequenceRange } from '../wire/vector.ts'
import { Heard } from './heard.ts'
import { SlotTable, type Tenure } from './slot-table.ts'
import { SLOTS } from './slots.ts'

const PREFIX = '$group/'

/** The channel in which the members of a group tell each other what they do. Throws ERR_OPTIONS for a bad name. */
export function groupChannel(name: string): string {
  const isShort = name !== '' && Buffer.byteLength(name) <= LIMITS.nameBytes
  if (isShort && /^[^/+#\0\p{Surrogate}]+$/u.test(name)) return PREFIX + name
  throw new SkeinError(
    'ERR_OPTIONS',
    `group: a name has 1 to ${LIMITS.nameBytes} bytes and no '/', '+' or '#', unlike '${name}'`,
    { details: { option: 'group' } }
  )
}

/** The group whose channel it is; undefined for any other channel. */
export function groupOf(channel: string): string | undefined {
  return channel.startsWith(PREFIX) ? channel.slice(PREFIX.length) : undefined
}

/** What a member can say, each as a last value under its own PeerId. */
const KINDS = ['definition', 'member', 'slots', 'acks', 'heard', 'forgotten'] as const
export type ValueKind = (typeof KINDS)[number]

export function valueTopic(
  channel: string,
  peer: string,
  kind: ValueKind
): ReturnType<typeof parseTopic> {
  return parseTopic(`${channel}/${peer}/${kind}`)
}

/** Who says what; undefined for a topic that is none of these. */
export function parseValueSuffix(suffix: string): { peer: string; kind: ValueKind } | undefined {
  const [empty, peer, kind, ...more] = suffix.split('/')
  const known = KINDS.find((one) => one === kind)
  if (empty !== '' || peer === undefined || known === undefined || more.length > 0) return undefined
  return isPeerId(peer) ? { peer, kind: known } : undefined
}

/** What a group is. Of several the earliest counts. */
export interface Definition {
  readonly filter: string
  /** By the clock of its creator, ms. */
  readonly createdAt: number
  readonly creator: string
  /** From when on messages are the group's: all, or those from this time on, ms. */
  readonly since: number | 'all'
  /** Members that it has at most, where it works only while more than half of them hear each other; else 0. */
  readonly majority: number
  /** Above it the messages of a log are the group's, by log: what was there when a group that begins now was made. */
  readonly base: ReadonlyMap<string, number>
}

/** Logs that a definition can name: what fits a payload. */
export const BASE_LOGS = 2_048

export function encodeDefinition(definition: Definition): Uint8Array {
  const { base, createdAt, filter, majority, since } = definition
  const vector = [...base].map(([key, head]) => {
    const { publisher, session } = parseLogKey(key)
    return { key, publisher, session, held: { floor: 1, head, islands: [] } }
  })
  const writer = new ProtoWriter()
    .text(1, filter)
    .number(2, Math.floor(createdAt))
    .number(3, since === 'all' ? 0 : Math.floor(since) + 1)
  const channels = new Map<string, typeof vector>()
  for (const entry of vector) {
    const { channel } = parseLogKey(entry.key)
    channels.set(channel, [...(channels.get(channel) ?? []), entry])
  }
  for (const [channel, entries] of channels) {
    writer.message(4, new ProtoWriter().text(1, channel).bytes(2, encodeVector(entries)))
  }
  return writer.number(5, majority).finish()
}

/** Throws ERR_RECORD. */
export function decodeDefinition(payload: Uint8Array, creator: string): Definition {
  const reader = new ProtoReader(payload)
  const base = new Map<string, number>()
  let filter = ''
  let createdAt = 0
  let since = 0
  let majority = 0
  while (reader.position < reader.end) {
    const tag = reader.tag()
    if (tag === ((1 << 3) | WIRE.bytes)) filter = reader.text(LIMITS.topicBytes)
    else if (tag === ((2 << 3) | WIRE.varint)) createdAt = reader.varint()
    else if (tag === ((3 << 3) | WIRE.varint)) since = reader.varint()
    else if (tag === ((4 << 3) | WIRE.bytes)) readBase(reader.view(), base)
    else if (tag === ((5 << 3) | WIRE.varint)) majority = reader.varint()
    else reader.skip(tag)
  }
  return { filter, createdAt, creator, since: since === 0 ? 'all' : since - 1, majority, base }
}

function readBase(bytes: Uint8Array, base: Map<string, number>): void {
  const reader = new ProtoReader(bytes)
  let channel = ''
  while (reader.position < reader.end) {
    const tag = reader.tag()
    if (tag === ((1 << 3) | WIRE.bytes)) channel = reader.text(LIMITS.topicBytes)
    else if (tag === ((2 << 3) | WIRE.bytes)) {
      for (const { held, publisher, session } of decodeVector(reader.view(), BASE_LOGS)) {
        base.set(logKey({ channel, publisher, session }), held.head)
      }
    } else reader.skip(tag)
  }
}

/** What a member says of itself. */
export interface Membership {
  /** Greater at each opening. */
  readonly life: number
  readonly joined: boolean
  readonly full: boolean
}

const membership = z.object({
  life: z.number().int().nonnegative(),
  joined: z.boolean(),
  full: z.boolean()
})

export function encodeMembership({ full, joined, life }: Membership): Uint8Array {
  return Buffer.from(JSON.stringify({ life, joined, full }))
}

/** Throws ERR_RECORD. */
export function decodeMembership(payload: Uint8Array): Membership {
  const result = membership.safeParse(parseJson(payload))
  if (!result.success) throw recordError('field', 'a member of a group says nothing of itself')
  return result.data
}

function parseJson(payload: Uint8Array): unknown {
  try {
    return JSON.parse(asBuffer(payload).toString('utf8')) as unknown
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

/** Owners first, each with its life; then for each slot its epoch and its owner's place. */
export function encodeSlots(table: SlotTable): Uint8Array {
  const places = new Map<string, number>()
  const writer = new ProtoWriter()
  const slots = new ProtoWriter()
  for (const [slot, tenure] of table.entries()) {
    if (tenure === undefined) continue
    const key = `${tenure.owner} ${tenure.life}`
    let place = places.get(key)
    if (place === undefined) {
      place = places.size
      places.set(key, place)
      writer.message(1, new ProtoWriter().text(1, tenure.owner).number(2, tenure.life))
    }
    slots.message(2, new ProtoWriter().number(1, slot).number(2, tenure.epoch).number(3, place))
  }
  return Buffer.concat([writer.finish(), slots.finish()])
}

/** Throws ERR_RECORD. */
export function decodeSlots(payload: Uint8Array): SlotTable {
  const table = new SlotTable()
  const owners: Pick<Tenure, 'owner' | 'life'>[] = []
  const reader = new ProtoReader(payload)
  while (reader.position < reader.end) {
    const tag = reader.tag()
    if (tag === ((1 << 3) | WIRE.bytes)) {
      const { numbers, text } = readFields(reader.view())
      if (!isPeerId(text)) throw recordError('field', 'a slot of a group belongs to no peer')
      owners.push({ owner: text, life: numbers[2] ?? 0 })
    } else if (tag === ((2 << 3) | WIRE.bytes)) {
      const { numbers } = readFields(reader.view())
      const [slot = 0, epoch = 0, owner] = [numbers[1], numbers[2], owners[numbers[3] ?? 0]]
      if (owner === undefined || slot >= SLOTS || epoch < 1) {
        throw recordError('field', 'a group has no such slot')
      }
      table.put(slot, { epoch, ...owner })
    } else reader.skip(tag)
  }
  return table
}

function readFields(bytes: Uint8Array): { text: string; numbers: Record<number, number> } {
  const reader = new ProtoReader(bytes)
  const numbers: Record<number, number> = {}
  let text = ''
  while (reader.position < reader.end) {
    const tag = reader.tag()
    if ((tag & 7) === WIRE.varint) numbers[tag >>> 3] = reader.varint()
    else if (tag === ((1 << 3) | WIRE.bytes)) text = reader.text(LIMITS.topicBytes)
    else reader.skip(tag)
  }
  return { text, numbers }
}

/** What a member says that it has read. */
export interface HearingSaid {
  readonly positions: Heard
  /** Who reads a greater one than before answers with what it has read itself; 0: none was asked. */
  readonly question: number
}

/** Members whose logs one can tell of: what fits a payload. */
const HEARD_LOGS = 2_048

export function encodeHearing({ positions, question }: HearingSaid): Uint8Array {
  return new ProtoWriter().bytes(1, encodeHeard(positions)).number(2, question).finish()
}

/** The newest sessions, where there are too many. */
export function encodeHeard(positions: Heard): Uint8Array {
  const vector = [...positions.entries()]
    .toSorted(([, a], [, b]) => (a.session > b.session ? -1 : 1))
    .slice(0, HEARD_LOGS)
    .map(([publisher, { sequence, session }]) => ({
      publisher,
      session,
      held: { floor: 1, head: sequence, islands: [] }
    }))
  return encodeVector(vector)
}

/** Throws ERR_RECORD. */
export function decodeHeard(bytes: Uint8Array): Heard {
  return new Heard(
    decodeVector(bytes, HEARD_LOGS).map(({ held, publisher, session }) => [
      publisher,
      { session, sequence: held.head }
    ])
  )
}

/** Throws ERR_RECORD. */
export function decodeHearing(payload: Uint8Array): HearingSaid {
  const reader = new ProtoReader(payload)
  let positions = new Heard()
  let question = 0
  while (reader.position < reader.end) {
    const tag = reader.tag()
    if (tag === ((1 << 3) | WIRE.bytes)) positions = decodeHeard(reader.view())
    else if (tag === ((2 << 3) | WIRE.varint)) question = reader.varint()
    else reader.skip(tag)
  }
  return { positions, question }
}

/** Ranges of one log: distance to the range before, and length. */
export function encodeRanges(ranges: readonly SequenceRange[]): Uint8Array {
  const writer = new ProtoWriter()
  let above = 0
  for (const { from, to } of ranges) {
    // One more, since nothing is written for a 0.
    writer.number(1, from - above).number(2, to - from + 1)
    above = to
  }
  return writer.finish()
}

/** Throws ERR_RECORD. */
export function decodeRanges(payload: Uint8Array): SequenceRange[] {
  const reader = new ProtoReader(payload)
  const ranges: SequenceRange[] = []
  let from = 0
  let above = 0
  while (reader.position < reader.end) {
    const tag = reader.tag()
    if (tag === ((1 << 3) | WIRE.varint)) from = above + reader.varint()
    else if (tag === ((2 << 3) | WIRE.varint)) {
      const to = from + reader.varint() - 1
      if (from <= above || to < from || !Number.isSafeInteger(to)) {
        throw recordError('count', 'ranges of a group are not ascending')
      }
      ranges.push({ from, to })
      above = to
    } else reader.skip(tag)
  }
  return ranges
}

/** One log as the key of a value: `<publisher>/<session>/<channel>`. */
export function logKey({ channel, publisher, session }: LogRef): string {
  return `${publisher}/${session}/${channel}`
}

/** Throws ERR_RECORD. */
export function parseLogKey(key: string): LogRef {
  const [publisher = '', session = '', ...rest] = key.split('/')
  if (!isPeerId(publisher) || !isSession(session) || rest.length === 0) {
    throw recordError('field', 'a value of a group names no log')
  }
  return { publisher, session, channel: rest.join('/') }
}

/** Is it what somebody sent that cannot be read? Everything else is a fault of this program. */
export function isMalformed(error: unknown): boolean {
  return isSkeinError(error, 'ERR_RECORD')
}
