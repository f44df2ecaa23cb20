import { SkeinError } from '../core/errors.ts'
import { publicKeyFromPeerId } from './peer-id.ts'
import { isSession } from './session.ts'
import { isChannel } from './topic.ts'

/** What a message id says. */
export interface MessageId {
  /** PeerId, as text. */
  readonly publisher: string
  readonly session: string
  readonly sequence: number
  readonly channel: string
}

/** `<publisher>/<session>/<sequence>/<channel>`; the channel comes last because it may have a slash. */
export function formatMessageId(id: MessageId): string {
  return `${id.publisher}/${id.session}/${id.sequence}/${id.channel}`
}

const PATTERN = /^([^/]+)\/([0-9a-f]{16})\/([1-9][0-9]{0,15})\/(.*)$/s

/** The parts of a message id. Throws ERR_OPTIONS when it is none. */
export function parseMessageId(text: string): MessageId {
  const [, publisher = '', session = '', digits = '', channel = ''] = PATTERN.exec(text) ?? []
  const sequence = Number(digits)
  if (!isSession(session) || !Number.isSafeInteger(sequence) || !isChannel(channel)) {
    throw new SkeinError(
      'ERR_OPTIONS',
      `'${text.slice(0, 80)}' is not a message id; it would be <publisher>/<session>/<sequence>/<channel>`
    )
  }
  publicKeyFromPeerId(publisher)
  return { publisher, session, sequence, channel }
}
