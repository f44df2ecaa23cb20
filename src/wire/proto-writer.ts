import { textSize, varintSize, WIRE, writeText, writeVarint } from './protobuf.ts'

const FIRST_BYTES = 256

/**
 * Writes protobuf fields one after the other into memory that grows. For frames between two peers; records and
 * bodies have writers of their own. Defaults (0, false, nothing) are left out.
 */
export class ProtoWriter {
  #bytes = Buffer.allocUnsafe(FIRST_BYTES)
  #at = 0

  /** Bytes written so far. */
  get size(): number {
    return this.#at
  }

  number(field: number, value: number): this {
    if (value === 0) return this
    this.#room(1 + varintSize(value))
    this.#bytes[this.#at] = (field << 3) | WIRE.varint
    this.#at = writeVarint(this.#bytes, this.#at + 1, value)
    return this
  }

  flag(field: number, value: boolean): this {
    return this.number(field, value ? 1 : 0)
  }

  text(field: number, value: string): this {
    if (value === '') return this
    const size = textSize(value)
    this.#begin(field, size)
    this.#at = writeText(this.#bytes, this.#at, value, size)
    return this
  }

  /** Written also when empty: a repeated field may hold nothing. */
  bytes(field: number, value: Uint8Array): this {
    this.#begin(field, value.length)
    this.#bytes.set(value, this.#at)
    this.#at += value.length
    return this
  }

  /** A nested message. */
  message(field: number, fields: ProtoWriter): this {
    return this.bytes(field, fields.#bytes.subarray(0, fields.#at))
  }

  /** What was written; the writer begins anew with memory of its own. */
  finish(): Uint8Array {
    const written = this.#bytes.subarray(0, this.#at)
    this.#bytes = Buffer.allocUnsafe(FIRST_BYTES)
    this.#at = 0
    return written
  }

  #begin(field: number, length: number): void {
    this.#room(1 + varintSize(length) + length)
    this.#bytes[this.#at] = (field << 3) | WIRE.bytes
    this.#at = writeVarint(this.#bytes, this.#at + 1, length)
  }

  #room(bytes: number): void {
    const needed = this.#at + bytes
    if (needed <= this.#bytes.length) return
    const grown = Buffer.allocUnsafe(Math.max(needed, this.#bytes.length * 2))
    this.#bytes.copy(grown, 0, 0, this.#at)
    this.#bytes = grown
  }
}
