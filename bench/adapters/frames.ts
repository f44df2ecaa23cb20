import type { OnMessage } from './contract.ts'

const CHUNK_BYTES = 64 * 1024
const LENGTH_BYTES = 4

export interface Batcher {
  publish(payload: Buffer): Promise<unknown> | undefined
  flush(): Promise<unknown> | undefined
}

/** Packs length-prefixed payloads into chunks of 64 KiB; a larger payload gets a chunk of its own. */
class Packer {
  #payloads: Buffer[] = []
  #bytes = 0

  /** Does `payload` still fit beside what is held? */
  fits(payload: Buffer): boolean {
    return this.#bytes === 0 || this.#bytes + LENGTH_BYTES + payload.length <= CHUNK_BYTES
  }

  add(payload: Buffer): void {
    this.#payloads.push(payload)
    this.#bytes += LENGTH_BYTES + payload.length
  }

  /** Takes what is held away as one chunk; undefined when nothing is. */
  take(): Buffer | undefined {
    if (this.#bytes === 0) return undefined
    const chunk = Buffer.allocUnsafe(this.#bytes)
    let at = 0
    for (const payload of this.#payloads) {
      chunk.writeUInt32BE(payload.length, at)
      chunk.set(payload, at + LENGTH_BYTES)
      at += LENGTH_BYTES + payload.length
    }
    this.#payloads = []
    this.#bytes = 0
    return chunk
  }
}

/**
 * Holds payloads until a chunk is full or `lingerMs` have passed (0: until the event loop's next turn), then hands
 * the chunk to `send`, which may return a promise of room.
 */
export function createBatcher(
  send: (chunk: Buffer) => Promise<unknown> | undefined,
  lingerMs: number
): Batcher {
  const packer = new Packer()
  let timer: NodeJS.Timeout | NodeJS.Immediate | undefined
  const flush = (): Promise<unknown> | undefined => {
    const chunk = packer.take()
    return chunk === undefined ? undefined : send(chunk)
  }
  const onTime = (): void => {
    timer = undefined
    void flush()
  }
  const publish = (payload: Buffer): Promise<unknown> | undefined => {
    const room = packer.fits(payload) ? undefined : flush()
    packer.add(payload)
    timer ??= lingerMs > 0 ? setTimeout(onTime, lingerMs) : setImmediate(onTime)
    return room
  }
  return { publish, flush }
}

/** Takes stream bytes in any split and calls `onFrame` for every whole frame. */
export function createUnframer(onFrame: OnMessage): (data: Buffer) => void {
  let parts: Buffer[] = []
  let have = 0
  let want = LENGTH_BYTES
  return (data) => {
    parts.push(data)
    have += data.length
    if (have < want) return
    const bytes = parts.length === 1 ? data : Buffer.concat(parts, have)
    let at = 0
    for (;;) {
      want = LENGTH_BYTES
      if (bytes.length - at < want) break
      const length = bytes.readUInt32BE(at)
      want += length
      if (bytes.length - at < want) break
      onFrame(bytes.subarray(at + LENGTH_BYTES, at + want))
      at += want
    }
    parts = at === bytes.length ? [] : [bytes.subarray(at)]
    have = bytes.length - at
  }
}
