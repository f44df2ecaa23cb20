import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'

/** Why bytes of a client are not read on. */
export type Refusal = 'not connect' | 'packet too large' | 'malformed length'

export interface ConnectionInit {
  /** Largest packet that is read, its head included. */
  readonly packetBytes: number
  /** Largest first packet: whoever sends it is nobody yet. */
  readonly connectBytes: number
  /** Called once, before the connection is destroyed. */
  readonly onRefused: (refusal: Refusal) => void
}

/** First byte of a CONNECT packet. */
const CONNECT = 0x10
/** The remaining length of a packet has at most so many bytes. */
const LENGTH_BYTES = 4

/**
 * An MQTT client's socket, as far as its packets may be read. The parser behind it takes packets of any length into
 * memory, and whatever comes first; so their heads are looked at here, before anything is kept.
 */
export class MqttConnection extends Duplex {
  readonly #socket: Socket
  readonly #init: ConnectionInit
  /** Bytes of the body of the current packet that are still to come. */
  #body = 0
  /** Bytes of the current packet's head that were seen: none between two packets. */
  #head = 0
  #length = 0
  /** Of the current packet; 0: there was none yet. */
  #limit = 0

  constructor(socket: Socket, init: ConnectionInit) {
    super({ allowHalfOpen: false })
    this.#socket = socket
    this.#init = init
    socket.on('data', (chunk: Buffer) => {
      const refusal = this.#refusalOf(chunk)
      if (refusal !== undefined) this.#refuse(refusal)
      else if (!this.push(chunk)) socket.pause()
    })
    socket.on('end', () => this.push(null))
    socket.on('error', (error) => this.destroy(error))
    socket.on('close', () => this.destroy())
  }

  override _read(): void {
    this.#socket.resume()
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    this.#socket.write(chunk, done)
  }

  override _writev(
    chunks: ReadonlyArray<{ chunk: Buffer }>,
    done: (error?: Error | null) => void
  ): void {
    this.#socket.cork()
    for (const [at, { chunk }] of chunks.entries()) {
      this.#socket.write(chunk, at === chunks.length - 1 ? done : undefined)
    }
    this.#socket.uncork()
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#socket.end(() => done())
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#socket.destroy()
    done(error)
  }

  #refuse(refusal: Refusal): void {
    if (this.destroyed) return
    this.#init.onRefused(refusal)
    this.destroy()
  }

  /** Follows the bounds of packets. */
  #refusalOf(chunk: Buffer): Refusal | undefined {
    for (let at = 0; at < chunk.length;) {
      if (this.#body > 0) {
        const step = Math.min(this.#body, chunk.length - at)
        this.#body -= step
        at += step
        continue
      }
      const refusal = this.#readHead(chunk[at] ?? 0)
      if (refusal !== undefined) return refusal
      at++
    }
    return undefined
  }

  #readHead(byte: number): Refusal | undefined {
    if (this.#head === 0) {
      const { connectBytes, packetBytes } = this.#init
      if (this.#limit === 0 && byte !== CONNECT) return 'not connect'
      this.#limit = this.#limit === 0 ? connectBytes : packetBytes
      this.#head = 1
      this.#length = 0
      return undefined
    }
    this.#length += (byte & 0x7f) * 128 ** (this.#head - 1)
    if (this.#length + this.#head + 1 > this.#limit) return 'packet too large'
    if (byte >= 0x80) {
      this.#head++
      return this.#head > LENGTH_BYTES ? 'malformed length' : undefined
    }
    this.#body = this.#length
    this.#head = 0
    return undefined
  }
}
