import fc from 'fast-check'
import { isSkeinError } from '../../src/core/errors.ts'
import { LIMITS } from '../../src/core/limits.ts'
import type { EncodableMessage } from '../../src/wire/body.ts'
import type { RecordDraft } from '../../src/wire/sealed-record.ts'
import { createSigner } from '../../src/wire/signature.ts'

export const signer = createSigner(new Uint8Array(32).fill(7))

/** What `decode` gives; undefined where it refuses with ERR_RECORD, the only error it may throw. */
export function accepted<T>(decode: () => T): T | undefined {
  try {
    return decode()
  } catch (error) {
    if (isSkeinError(error, 'ERR_RECORD')) return undefined
    throw error
  }
}

/** Topic levels, mostly of a small alphabet so that filters and topics meet. */
const level: fc.Arbitrary<string> = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom('a', 'b', 'c', '', 'orders', '$x', '@me') },
  {
    weight: 1,
    arbitrary: fc
      .string({ unit: 'grapheme', minLength: 1, maxLength: 6 })
      .filter((text) => !/[/+#\0]/.test(text))
  }
)

export const topic: fc.Arbitrary<string> = fc
  .array(level, { minLength: 1, maxLength: 5 })
  .map((levels) => levels.join('/'))
  .filter((text) => text !== '')

export const filter: fc.Arbitrary<string> = fc
  .tuple(
    fc.array(fc.oneof(level, fc.constant('+')), { minLength: 1, maxLength: 4 }),
    fc.constantFrom('', '/#')
  )
  .map(([levels, rest]) => levels.join('/') + rest)
  .chain((text) => fc.oneof({ weight: 12, arbitrary: fc.constant(text) }, fc.constant('#')))
  .filter((text) => text !== '')

const text = fc.string({ unit: 'grapheme', maxLength: 40 })
const optional = <T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.option(arbitrary, { nil: undefined })

const headers: fc.Arbitrary<Record<string, string>> = fc
  .array(fc.tuple(fc.oneof(text, fc.constantFrom('__proto__', 'constructor', 'toString')), text), {
    minLength: 1,
    maxLength: 4
  })
  .map((pairs) => {
    const all = Object.create(null) as Record<string, string>
    for (const [name, value] of pairs) all[name] = value
    return all
  })

/** Messages as the decoder gives them back: priority 0 is undefined. */
export const message = fc.record({
  suffix: fc
    .array(level, { maxLength: 4 })
    .map((levels) => levels.map((one) => `/${one}`).join('')),
  payload: fc.uint8Array({ maxLength: 300 }),
  contentType: optional(text),
  key: optional(text),
  headers: optional(headers),
  ttlMs: optional(fc.maxSafeNat()),
  priority: optional(fc.integer({ min: 1, max: 9 })),
  deliverAt: optional(fc.maxSafeNat()),
  id: optional(text),
  replyTo: optional(text)
}) satisfies fc.Arbitrary<EncodableMessage>

export const session: fc.Arbitrary<string> = fc
  .bigInt({ min: 1n, max: 2n ** 64n - 1n })
  .map((value) => value.toString(16).padStart(16, '0'))

const hash = fc.uint8Array({ minLength: 32, maxLength: 32 })

const sessions = fc
  .uniqueArray(session, { minLength: 2, maxLength: 2 })
  .map((pair) => pair.toSorted())

/** Drafts that keep every rule. */
export const draft: fc.Arbitrary<RecordDraft> = fc
  .record({
    sessions,
    channel: fc.constantFrom('orders', 'ü', '$group/workers', '$dlq/node.name', '@peer', ''),
    start: fc.boolean(),
    sequence: fc.integer({ min: 2, max: Number.MAX_SAFE_INTEGER - LIMITS.batchMessages }),
    count: fc.integer({ min: 1, max: LIMITS.batchMessages }),
    hash,
    ended: optional(fc.record({ sequence: fc.integer({ min: 1 }), digest: hash })),
    ms: fc.integer({ min: 0, max: 2 ** 48 - 1 }),
    counter: fc.integer({ min: 0, max: 0xffff }),
    control: fc.boolean(),
    filler: fc.integer({ min: 1, max: 500 })
  })
  .map((parts) => ({
    session: parts.sessions[1] as string,
    channel: parts.channel,
    first: parts.start ? 1 : parts.sequence,
    count: parts.count,
    previous: parts.start ? undefined : parts.hash,
    before:
      parts.start && parts.ended !== undefined
        ? { session: parts.sessions[0] as string, ...parts.ended }
        : undefined,
    time: { ms: parts.ms, counter: parts.counter },
    flags: parts.control ? 1 : 0,
    body: new Uint8Array((parts.control ? 0 : 2 * parts.count) + parts.filler).fill(parts.filler)
  }))
