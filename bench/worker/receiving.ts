import { PROBE, type BeginOrder, type Received } from './protocol.ts'

const PROGRESS_EVERY_MS = 20
/** Nothing has come for so long: what is missing counts as lost. Longer than any contender takes to repair. */
const QUIET_MS = 12_000
/** Sequence numbers of one throughput phase that can be told apart. */
const FLOOD_MESSAGES = 1 << 24
const NO_LATENCIES = new Float64Array(0)

/** The subscriber's side of every workload: what came, once each, and when. */
export class Receiving {
  readonly #onProbed: () => void
  readonly #onProgress: (count: number) => void
  #seen = new Uint8Array(0)
  #latencies = NO_LATENCIES
  #count = 0
  #duplicates = 0
  #lastAt = 0n
  #expected = Infinity
  #probed = false
  #complete: (() => void) | undefined
  #reporting: NodeJS.Timeout | undefined

  constructor(onProbed: () => void, onProgress: (count: number) => void) {
    this.#onProbed = onProbed
    this.#onProgress = onProgress
  }

  take(bytes: Uint8Array): void {
    const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    const sequence = view.readUInt32LE(0)
    if (sequence === PROBE) {
      if (!this.#probed) this.#onProbed()
      this.#probed = true
      return
    }
    if (this.#seen[sequence] === 1) {
      this.#duplicates++
      return
    }
    this.#seen[sequence] = 1
    this.#count++
    const at = process.hrtime.bigint()
    if (sequence < this.#latencies.length) {
      this.#latencies[sequence] = Number(at - view.readBigUInt64LE(8)) / 1e6
    }
    this.#lastAt = at
    if (this.#count >= this.#expected) this.#complete?.()
  }

  begin({ latencies }: BeginOrder): void {
    this.#seen = new Uint8Array(latencies > 0 ? latencies : FLOOD_MESSAGES)
    this.#latencies = latencies > 0 ? new Float64Array(latencies).fill(Number.NaN) : NO_LATENCIES
    this.#count = this.#duplicates = 0
    this.#lastAt = 0n
    this.#expected = Infinity
    if (latencies > 0) return
    this.#reporting = setInterval(() => this.#onProgress(this.#count), PROGRESS_EVERY_MS)
  }

  /** Waits until everything sent is here, or nothing comes any more. */
  async end({ sent }: { sent: number }): Promise<Received> {
    this.#expected = sent
    if (this.#count < sent) await this.#allOrQuiet()
    clearInterval(this.#reporting)
    return {
      count: this.#count,
      duplicates: this.#duplicates,
      lastAt: this.#lastAt,
      latencies: this.#latencies
    }
  }

  async #allOrQuiet(): Promise<void> {
    let before = -1
    let quiet: NodeJS.Timeout | undefined
    await new Promise<void>((resolve) => {
      this.#complete = resolve
      quiet = setInterval(() => {
        if (this.#count === before) resolve()
        before = this.#count
      }, QUIET_MS)
    })
    clearInterval(quiet)
    this.#complete = undefined
  }
}
