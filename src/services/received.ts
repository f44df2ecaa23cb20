import { SkeinError } from '../core/errors.ts'
import type { PeerId } from '../mesh/contract.ts'
import type { Content } from '../wire/request-frames.ts'
import type { ServiceReply } from './contract.ts'

const NO_HEADERS: Readonly<Record<string, string>> = Object.freeze({})

/** A payload that came from a peer, with what describes it. */
export abstract class ReceivedContent {
  readonly payload: Uint8Array
  readonly contentType: string | undefined
  readonly headers: Readonly<Record<string, string>>

  constructor({ contentType, headers, payload }: Content) {
    this.payload = payload
    this.contentType = contentType
    this.headers = headers ?? NO_HEADERS
  }

  json<T = unknown>(): T {
    try {
      return JSON.parse(this.text()) as T
    } catch (error) {
      throw new SkeinError('ERR_PAYLOAD', 'the payload is not JSON', { cause: error })
    }
  }

  text(): string {
    const { buffer, byteLength, byteOffset } = this.payload
    return Buffer.from(buffer, byteOffset, byteLength).toString('utf8')
  }
}

export class ReceivedReply extends ReceivedContent implements ServiceReply {
  readonly responder: PeerId

  constructor(content: Content, responder: PeerId) {
    super(content)
    this.responder = responder
  }
}
