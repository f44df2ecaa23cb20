import { LIMITS } from '../core/limits.ts'
import { ProtoWriter } from '../wire/proto-writer.ts'
import { ProtoReader, recordError } from '../wire/protobuf.ts'
import { isSession } from '../wire/session.ts'
import { isChannel } from '../wire/topic.ts'

/** Asks to be told of synced copies, and tells of them. One stream for all logs of one publisher at one holder. */
export const REPLICAS_PROTOCOL = '/skein/replicas/1.0.0'

/** A log of the peer that opened the stream. */
export interface OwnLog {
  readonly channel: string
  readonly session: string
}

/** What a holder has of it on disk, synced, without a hole: `from` to `upTo`; nothing where `upTo` < `from`. */
export interface SyncedCopy extends OwnLog {
  readonly from: number
  readonly upTo: number
}

const FIELD = { channel: 1, session: 2, from: 3, upTo: 4 } as const

/** The opener's frames name a log to be watched, the holder's answer with what it has: `from` and `upTo` are set. */
export function encodeReplicasFrame(frame: OwnLog & Partial<SyncedCopy>): Uint8Array {
  const writer = new ProtoWriter().text(FIELD.channel, frame.channel)
  writer.text(FIELD.session, frame.session)
  return writer
    .number(FIELD.from, frame.from ?? 0)
    .number(FIELD.upTo, frame.upTo ?? 0)
    .finish()
}

/** Throws ERR_RECORD where the bytes are no frame of the protocol. */
export function decodeReplicasFrame(bytes: Uint8Array): SyncedCopy {
  const reader = new ProtoReader(bytes)
  const frame = { channel: '', session: '', from: 0, upTo: 0 }
  while (reader.position < reader.end) {
    const tag = reader.tag()
    switch (tag >>> 3) {
      case FIELD.channel:
        frame.channel = reader.text(LIMITS.topicBytes)
        break
      case FIELD.session:
        frame.session = reader.text(16)
        break
      case FIELD.from:
        frame.from = reader.varint()
        break
      case FIELD.upTo:
        frame.upTo = reader.varint()
        break
      default:
        reader.skip(tag)
    }
  }
  if (!isSession(frame.session) || !isChannel(frame.channel)) {
    throw recordError('field', 'a frame about synced copies names no log')
  }
  return frame
}
