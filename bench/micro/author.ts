import { randomBytes } from 'node:crypto'
import { systemRandom } from '../../src/core/random.ts'
import { KIB } from '../../src/core/limits.ts'
import { BodyBuilder } from '../../src/wire/body.ts'
import type { SealedRecord } from '../../src/wire/record.ts'
import { sealRecord } from '../../src/wire/sealed-record.ts'
import { newSession } from '../../src/wire/session.ts'
import { createSigner, SEED_BYTES } from '../../src/wire/signature.ts'

const CHANNEL = 'bench'
const BODY_BYTES = 64 * KIB

/** Writes one log of records of 64 KiB whose messages have `size` bytes. */
export class Author {
  readonly #signer = createSigner(randomBytes(SEED_BYTES))
  readonly #session = newSession(Date.now(), systemRandom)
  readonly #builder = new BodyBuilder(BODY_BYTES)
  readonly #payload: Buffer
  #next = 1
  #previous: Uint8Array | undefined

  constructor(size: number) {
    this.#payload = randomBytes(size)
  }

  /** Packs one body; answers its messages. */
  pack(): { body: Uint8Array; count: number } {
    const message = { suffix: '/messages', payload: this.#payload }
    while (this.#builder.add(message, BODY_BYTES));
    const { count } = this.#builder
    return { body: this.#builder.finish(), count }
  }

  /** Packs and seals the next record of the log. */
  write(): SealedRecord {
    const { body, count } = this.pack()
    const record = sealRecord(
      {
        session: this.#session,
        channel: CHANNEL,
        first: this.#next,
        count,
        previous: this.#previous,
        before: undefined,
        time: { ms: Date.now(), counter: 0 },
        body
      },
      this.#signer
    )
    this.#next += count
    this.#previous = record.digest
    return record
  }
}
