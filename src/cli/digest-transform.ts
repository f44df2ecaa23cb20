import { createHash } from 'node:crypto'
import { Transform } from 'node:stream'
import type { TransformCallback } from 'node:stream'
import { SkeinError } from '../core/errors.ts'

/** SHA-256. */
const DIGEST_BYTES = 32

interface DigestInit {
  /** Told how many bytes of the payload have passed. */
  readonly onBytes: (bytes: number) => void
}

/** What passes, counted and digested. */
abstract class DigestTransform extends Transform {
  readonly #hash = createHash('sha256')
  readonly #init: DigestInit
  #bytes = 0
  /** Of what passed, in hex, when it has ended. */
  digest = ''

  constructor(init: DigestInit) {
    super()
    this.#init = init
  }

  get bytes(): number {
    return this.#bytes
  }

  protected count(payload: Buffer): void {
    this.#hash.update(payload)
    this.#bytes += payload.length
    this.#init.onBytes(this.#bytes)
  }

  protected finish(): Buffer {
    const digest = this.#hash.digest()
    this.digest = digest.toString('hex')
    return digest
  }
}

/** Passes bytes on, and behind them their digest. */
export class DigestAppender extends DigestTransform {
  override _transform(chunk: Buffer, _encoding: string, done: TransformCallback): void {
    this.count(chunk)
    done(null, chunk)
  }

  override _flush(done: TransformCallback): void {
    done(null, this.finish())
  }
}

/** Passes bytes on but for the digest behind them; fails with ERR_STREAM at the end where that is another one. */
export class DigestChecker extends DigestTransform {
  /** What may be the digest. */
  #tail = Buffer.alloc(0)

  override _transform(chunk: Buffer, _encoding: string, done: TransformCallback): void {
    const all = this.#tail.length === 0 ? chunk : Buffer.concat([this.#tail, chunk])
    const end = Math.max(0, all.length - DIGEST_BYTES)
    this.#tail = Buffer.from(all.subarray(end))
    const payload = all.subarray(0, end)
    this.count(payload)
    if (payload.length > 0) this.push(payload)
    done()
  }

  override _flush(done: TransformCallback): void {
    this.finish()
    const expected = this.#tail.toString('hex')
    if (this.digest === expected) {
      done()
      return
    }
    const text = `the bytes that came are not those that were sent: SHA-256 ${this.digest}, not ${expected}`
    done(new SkeinError('ERR_STREAM', text))
  }
}
