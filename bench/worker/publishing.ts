import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import type { AdapterNode } from '../adapters/contract.ts'
import { PROBE } from './protocol.ts'
import type { FloodOrder, PaceOrder, Published, WindowOrder, WindowResult } from './protocol.ts'

/** CLOCK_MONOTONIC on Linux: the same clock in every process of a host. */
const now = (): bigint => process.hrtime.bigint()
const milliseconds = (nanoseconds: bigint): number => Number(nanoseconds) / 1e6

const PROBE_EVERY_MS = 20
/** The event loop gets a turn after so many messages. */
const MESSAGES_PER_TURN = 32
const PROBE_BYTES = 128
/** Who serves is known to others within this time. */
const REACHED_WITHIN_NS = 20_000_000_000n

/** Always a fresh payload: contenders keep references, so a buffer is never used again. */
function createPayload(size: number, sequence: number): Buffer {
  const payload = Buffer.allocUnsafe(size)
  payload.writeUInt32LE(sequence, 0)
  payload.writeBigUInt64LE(now(), 8)
  return payload
}

/** The publisher's side of every workload. */
export class Publishing {
  readonly #publish: (payload: Buffer) => Promise<unknown> | undefined
  readonly #publishDurable: (payload: Buffer) => Promise<unknown>
  readonly #request: (payload: Buffer) => Promise<unknown>
  readonly #flush: () => Promise<unknown> | undefined
  #probing = false
  /** Messages that the slowest subscriber has, as last reported. */
  delivered = 0

  constructor(node: AdapterNode) {
    this.#publish = (payload) => node.publish?.(payload)
    this.#publishDurable = async (payload) => node.publishDurable?.(payload)
    this.#request = async (payload) => node.request?.(payload)
    this.#flush = () => node.flush?.()
  }

  async probe(): Promise<void> {
    this.#probing = true
    while (this.#probing) {
      await this.#publish(createPayload(PROBE_BYTES, PROBE))
      await this.#flush()
      await sleep(PROBE_EVERY_MS)
    }
  }

  stopProbing(): void {
    this.#probing = false
  }

  /** As fast as the contender's own back-pressure allows. */
  async flood({ size, durationMs, capBytes }: FloodOrder): Promise<Published> {
    this.delivered = 0
    let sent = 0
    let ahead = 0
    const startedAt = now()
    const end = startedAt + BigInt(durationMs) * 1_000_000n
    while (now() < end) {
      for (let i = 0; i < MESSAGES_PER_TURN; i++) {
        const room = this.#publish(createPayload(size, sent++))
        if (room !== undefined) await room
      }
      await nextTurn()
      ahead = Math.max(ahead, sent - this.delivered)
      while ((sent - this.delivered) * size > capBytes && now() < end) await sleep(1)
    }
    await this.#flush()
    return { sent, startedAt, ahead, lag: [] }
  }

  /** A steady rate, by a timer of 1 ms that catches up when it fires late. */
  async pace({ size, durationMs, rate }: PaceOrder): Promise<Published> {
    const total = Math.floor((rate * durationMs) / 1000)
    const lag: number[] = []
    let sent = 0
    let publishing: Promise<unknown> = Promise.resolve()
    const startedAt = now()
    while (sent < total) {
      const elapsed = milliseconds(now() - startedAt)
      const due = Math.min(total, Math.floor((elapsed * rate) / 1000) + 1)
      for (; sent < due; sent++) {
        lag.push(milliseconds(now() - startedAt) - (sent * 1000) / rate)
        // Stamped when it is due, even if an earlier publish is still waited for.
        const payload = createPayload(size, sent)
        publishing = publishing.then(() => this.#publish(payload))
      }
      await sleep(1)
    }
    await publishing
    await this.#flush()
    return { sent, startedAt, ahead: 0, lag }
  }

  durable(order: WindowOrder): Promise<WindowResult> {
    return this.#keepFull(order, this.#publishDurable)
  }

  /** Begins when the first one is answered: who serves has to be known. */
  async request(order: WindowOrder): Promise<WindowResult> {
    const end = now() + REACHED_WITHIN_NS
    for (;;) {
      try {
        await this.#request(createPayload(order.size, 0))
        break
      } catch (error) {
        if (now() > end) throw error
        await sleep(PROBE_EVERY_MS)
      }
    }
    return this.#keepFull(order, this.#request)
  }

  /** Always as many under way as the window takes. */
  async #keepFull(
    { size, durationMs, window }: WindowOrder,
    send: (payload: Buffer) => Promise<unknown>
  ): Promise<WindowResult> {
    const latencies: number[] = []
    const startedAt = now()
    const end = startedAt + BigInt(durationMs) * 1_000_000n
    let last = startedAt
    let sent = 0
    const sendOneByOne = async (): Promise<void> => {
      for (let at = now(); at < end; at = now()) {
        await send(createPayload(size, sent++))
        last = now()
        latencies.push(milliseconds(last - at))
      }
    }
    await Promise.all(Array.from({ length: window }, sendOneByOne))
    return { seconds: milliseconds(last - startedAt) / 1000, latencies }
  }
}
