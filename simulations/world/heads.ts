import { frameId } from '../../src/mesh/network-key.ts'
import { RecentCache } from '../../src/wire/recent-cache.ts'

/** Heads remembered: gossip is done with one within seconds. */
const HEADS = 8_192

/** A head under way, the same object for everyone, with who knows it: a bit for each node costs less than its id there. */
export class Head {
  readonly channel: string
  readonly bytes: Uint8Array
  readonly id: string
  #known = new Uint8Array(16)

  constructor(channel: string, bytes: Uint8Array, id: string) {
    this.channel = channel
    this.bytes = bytes
    this.id = id
  }

  isKnown(index: number): boolean {
    return ((this.#known[index >> 3] ?? 0) & (1 << (index & 7))) !== 0
  }

  learn(index: number): void {
    const at = index >> 3
    if (at >= this.#known.length) {
      const larger = new Uint8Array(2 * at)
      larger.set(this.#known)
      this.#known = larger
    }
    this.#known[at] = (this.#known[at] as number) | (1 << (index & 7))
  }
}

/** The heads that go round in a world. */
export class Heads {
  readonly #found = new RecentCache<string, Head>(HEADS)

  /** Copies the bytes. */
  publish(channel: string, bytes: Uint8Array): Head {
    const id = frameId(bytes)
    const known = this.#found.get(id)
    if (known !== undefined) return known
    const head = new Head(channel, bytes.slice(), id)
    this.#found.set(id, head)
    return head
  }

  /** Undefined where its head was not sent, or long ago. */
  find(id: string): Head | undefined {
    return this.#found.get(id)
  }
}
