import type { DecodedMessage } from '../wire/body.ts'
import type { Subject } from './attributes.ts'

type Fields = Readonly<Record<string, unknown>>

const OPENING_BRACE = 0x7b
const SPACES: ReadonlySet<number | undefined> = new Set([0x20, 0x09, 0x0a, 0x0d])

/**
 * Top-level fields of payloads that are JSON objects. A payload is parsed at most once, whoever asks, while its
 * record stays decoded: what was parsed goes with the list of messages it belongs to.
 */
export class PayloadFields {
  readonly #records = new WeakMap<readonly DecodedMessage[], (Fields | null | undefined)[]>()

  /** Text, number or boolean as text; undefined for anything else, and where there is no such field. */
  get(subject: Subject, field: string): string | undefined {
    const fields = this.#fieldsOf(subject)
    if (fields === null || !Object.hasOwn(fields, field)) return undefined
    const value = fields[field]
    if (typeof value === 'string') return value
    return typeof value === 'number' || typeof value === 'boolean' ? String(value) : undefined
  }

  #fieldsOf({ index, messages }: Subject): Fields | null {
    let parsed = this.#records.get(messages)
    if (parsed === undefined) {
      parsed = []
      this.#records.set(messages, parsed)
    }
    const known = parsed[index]
    if (known !== undefined) return known
    const fields = parseObject(messages[index]?.payload)
    parsed[index] = fields
    return fields
  }
}

/** Many publishers give no content type, so the bytes decide. */
function parseObject(payload: Uint8Array | undefined): Fields | null {
  if (payload === undefined) return null
  let at = 0
  while (SPACES.has(payload[at])) at++
  if (payload[at] !== OPENING_BRACE) return null
  const { buffer, byteLength, byteOffset } = payload
  try {
    return JSON.parse(Buffer.from(buffer, byteOffset, byteLength).toString('utf8')) as Fields
  } catch (error) {
    // It only begins like an object: a payload may be anything.
    if (!(error instanceof SyntaxError)) throw error
    return null
  }
}
