import { LIMITS } from '../core/limits.ts'
import { isPeerId } from '../wire/peer-id.ts'
import { ProtoReader, recordError, WIRE } from '../wire/protobuf.ts'
import { ProtoWriter } from '../wire/proto-writer.ts'
import { decodeHeard, encodeHeard } from './group-values.ts'
import { Heard } from './heard.ts'

/** A member of one life, at a moment of its own monotonic clock, whole ms. */
export interface Moment {
  readonly life: number
  readonly at: number
}

/** What a member of a group that works only as a majority says several times a second. */
export interface Beat extends Moment {
  /** The newest beat that it heard of each other member. */
  readonly heard: ReadonlyMap<string, Moment>
  /** How far it has read the group's channel. */
  readonly read: Heard
}

/** Members that one beat can name. */
const MAX_HEARD = 256

export function encodeBeat({ at, heard, life, read }: Beat): Uint8Array {
  const writer = new ProtoWriter().number(1, life).number(2, at)
  for (const [peer, moment] of heard) {
    const entry = new ProtoWriter().text(1, peer).number(2, moment.life).number(3, moment.at)
    writer.message(3, entry)
  }
  return writer.bytes(4, encodeHeard(read)).finish()
}

/** Throws ERR_RECORD. */
export function decodeBeat(payload: Uint8Array): Beat {
  const reader = new ProtoReader(payload)
  const heard = new Map<string, Moment>()
  let read = new Heard()
  let [life, at] = [0, 0]
  while (reader.position < reader.end) {
    const tag = reader.tag()
    if (tag === ((1 << 3) | WIRE.varint)) life = reader.varint()
    else if (tag === ((2 << 3) | WIRE.varint)) at = reader.varint()
    else if (tag === ((3 << 3) | WIRE.bytes)) readMoment(reader.view(), heard)
    else if (tag === ((4 << 3) | WIRE.bytes)) read = decodeHeard(reader.view())
    else reader.skip(tag)
  }
  return { life, at, heard, read }
}

function readMoment(bytes: Uint8Array, heard: Map<string, Moment>): void {
  const reader = new ProtoReader(bytes)
  let peer = ''
  let [life, at] = [0, 0]
  while (reader.position < reader.end) {
    const tag = reader.tag()
    if (tag === ((1 << 3) | WIRE.bytes)) peer = reader.text(LIMITS.topicBytes)
    else if (tag === ((2 << 3) | WIRE.varint)) life = reader.varint()
    else if (tag === ((3 << 3) | WIRE.varint)) at = reader.varint()
    else reader.skip(tag)
  }
  if (!isPeerId(peer) || heard.size >= MAX_HEARD) {
    throw recordError('field', 'a beat of a group names no member')
  }
  heard.set(peer, { life, at })
}
