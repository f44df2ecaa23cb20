import type { Message } from '../../node/contract.ts'

interface Lane {
  readonly name: string
  /** In their order; the first one is the next, or is being pushed. */
  readonly queue: Message[]
  isBusy: boolean
  /** Nothing is pushed before this time, ms. */
  notBefore: number
  /** A message that was given back and comes again: those behind it wait for it. */
  expected: string | undefined
}

/** A message that does not come again went to another member of a group: those behind it wait no longer, ms. */
const LOST_MS = 10_000

/**
 * Messages in hand, by key: one of a key at a time, in their order, and one that failed goes again before those behind it.
 * Those without a key wait for nobody. Knows nothing of time but what it is told.
 */
export class KeyLanes {
  /** One lane for all. */
  readonly #isSingle: boolean
  readonly #lanes = new Map<string, Lane>()
  readonly #byMessage = new Map<string, Lane>()
  #bytes = 0

  constructor(isSingle: boolean) {
    this.#isSingle = isSingle
  }

  /** Messages in hand, those that are being pushed included. */
  get size(): number {
    return this.#byMessage.size
  }

  /** Bytes of their payloads. */
  get bytes(): number {
    return this.#bytes
  }

  add(message: Message): void {
    const { id } = message
    const name = this.#nameOf(message)
    const lane = this.#lanes.get(name) ?? {
      name,
      queue: [],
      isBusy: false,
      notBefore: 0,
      expected: undefined
    }
    this.#lanes.set(name, lane)
    if (lane.expected === id) {
      lane.expected = undefined
      lane.queue.unshift(message)
    } else lane.queue.push(message)
    this.#byMessage.set(id, lane)
    this.#bytes += message.payload.byteLength
  }

  /** The next message to push now; `done`, `failed` or `back` says what became of it. */
  next(now: number): Message | undefined {
    for (const lane of this.#lanes.values()) {
      if (lane.isBusy || lane.notBefore > now) continue
      if (lane.expected !== undefined) {
        if (lane.notBefore + LOST_MS > now) continue
        lane.expected = undefined
        if (lane.queue.length === 0) {
          this.#lanes.delete(lane.name)
          continue
        }
      }
      const [message] = lane.queue
      if (message === undefined) continue
      lane.isBusy = true
      // In turn, so that no lane waits for the others.
      this.#lanes.delete(lane.name)
      this.#lanes.set(lane.name, lane)
      return message
    }
    return undefined
  }

  /** When there may be a next one, ms; undefined where only new messages or answers bring one. */
  dueAt(): number | undefined {
    let due: number | undefined
    for (const { expected, isBusy, notBefore, queue } of this.#lanes.values()) {
      if (isBusy || (queue.length === 0 && expected === undefined)) continue
      const at = expected === undefined ? notBefore : notBefore + LOST_MS
      if (due === undefined || at < due) due = at
    }
    return due
  }

  /** It was pushed. */
  done(message: Message): void {
    const lane = this.#takeOut(message)
    if (lane === undefined) return
    lane.notBefore = 0
    this.#tidy(lane)
  }

  /** It is given back, comes again, and goes again at `notBefore`, ms, at the earliest. */
  failed(message: Message, notBefore: number): void {
    const lane = this.#takeOut(message)
    if (lane === undefined) return
    lane.expected = message.id
    lane.notBefore = notBefore
  }

  /** It was not pushed after all, and is the next one of its lane. */
  back(message: Message): void {
    const lane = this.#byMessage.get(message.id)
    if (lane !== undefined) lane.isBusy = false
  }

  /** A message that was given back does not come again. */
  release(id: string): void {
    for (const lane of this.#lanes.values()) {
      if (lane.expected !== id) continue
      lane.expected = undefined
      lane.notBefore = 0
      this.#tidy(lane)
      return
    }
  }

  /** All that are in hand and not being pushed; they are in hand no more. */
  drain(): Message[] {
    const drained: Message[] = []
    for (const lane of this.#lanes.values()) {
      const rest = lane.queue.splice(lane.isBusy ? 1 : 0)
      for (const message of rest) {
        this.#byMessage.delete(message.id)
        this.#bytes -= message.payload.byteLength
      }
      drained.push(...rest)
    }
    return drained
  }

  #nameOf({ id, key }: Message): string {
    if (this.#isSingle) return ''
    return key === undefined ? `id ${id}` : `key ${key}`
  }

  #takeOut({ id, payload }: Message): Lane | undefined {
    const lane = this.#byMessage.get(id)
    if (lane === undefined) return undefined
    this.#byMessage.delete(id)
    this.#bytes -= payload.byteLength
    lane.queue.shift()
    lane.isBusy = false
    return lane
  }

  #tidy(lane: Lane): void {
    if (lane.queue.length === 0 && lane.expected === undefined) this.#lanes.delete(lane.name)
  }
}
