/** Something that happens at a moment of simulated time. */
export interface QueuedEvent {
  /** us since the world began. */
  readonly at: number
  /** Events of one moment run in the order of these numbers. */
  readonly order: number
  /** Undefined once it is cancelled. */
  run: (() => void) | undefined
}

/** Cancelled events are thrown out when they are more than this, and more than half. */
const SWEEP = 1024

/**
 * Events in the order of time, those of one moment in the order in which they were added. A heap for what is to come,
 * and a plain queue for what is added for the present moment, which is behind all that the heap has for it.
 */
export class EventQueue {
  #heap: QueuedEvent[] = []
  #present: QueuedEvent[] = []
  #head = 0
  #now = 0
  #order = 0
  #cancelled = 0

  /** The moment of the last event taken, us. */
  get now(): number {
    return this.#now
  }

  /** Time passes without an event. */
  advance(to: number): void {
    this.#now = Math.max(this.#now, to)
  }

  add(at: number, run: () => void): QueuedEvent {
    const event = { at: Math.max(at, this.#now), order: this.#order++, run }
    if (event.at === this.#now) this.#present.push(event)
    else this.#push(event)
    return event
  }

  cancel(event: QueuedEvent): void {
    if (event.run === undefined) return
    event.run = undefined
    this.#cancelled++
    if (this.#cancelled > SWEEP && this.#cancelled > this.#heap.length / 2) this.#sweep()
  }

  /** The next event up to the moment `until`, in us; what it was to run is taken out of it. */
  take(until: number): (() => void) | undefined {
    for (;;) {
      const event = this.#next(until)
      if (event === undefined) return undefined
      const { run } = event
      if (run === undefined) {
        this.#cancelled = Math.max(0, this.#cancelled - 1)
        continue
      }
      this.#now = event.at
      event.run = undefined
      return run
    }
  }

  #next(until: number): QueuedEvent | undefined {
    const top = this.#heap[0]
    if (top !== undefined && top.at <= this.#now && top.at <= until) return this.#pop()
    if (this.#head < this.#present.length) return this.#shift()
    return top !== undefined && top.at <= until ? this.#pop() : undefined
  }

  #shift(): QueuedEvent {
    const event = this.#present[this.#head++] as QueuedEvent
    if (this.#head === this.#present.length) {
      this.#present = []
      this.#head = 0
    } else if (this.#head > SWEEP && this.#head > this.#present.length / 2) {
      this.#present = this.#present.slice(this.#head)
      this.#head = 0
    }
    return event
  }

  #sweep(): void {
    this.#heap = this.#heap.filter(({ run }) => run !== undefined).sort(compare)
    this.#cancelled = 0
  }

  #push(event: QueuedEvent): void {
    const heap = this.#heap
    let at = heap.length
    heap.push(event)
    while (at > 0) {
      const above = (at - 1) >> 1
      const parent = heap[above] as QueuedEvent
      if (compare(parent, event) < 0) break
      heap[at] = parent
      at = above
    }
    heap[at] = event
  }

  #pop(): QueuedEvent | undefined {
    const heap = this.#heap
    const top = heap[0]
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return top
    let at = 0
    for (;;) {
      let below = 2 * at + 1
      if (below >= heap.length) break
      const right = heap[below + 1]
      if (right !== undefined && compare(right, heap[below] as QueuedEvent) < 0) below++
      const child = heap[below] as QueuedEvent
      if (compare(last, child) < 0) break
      heap[at] = child
      at = below
    }
    heap[at] = last
    return top
  }
}

function compare(a: QueuedEvent, b: QueuedEvent): number {
  return a.at - b.at || a.order - b.order
}
