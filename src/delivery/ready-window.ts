import { LIMITS } from '../core/limits.ts'
import type { Candidate, ChannelReader } from './channel-reader.ts'

/** A message that was read and not handed over yet. */
export interface Ready {
  readonly candidate: Candidate
  readonly priority: number
  /** Messages read before it. */
  readonly place: number
  /** Bytes of records read before it, its own one included. */
  readonly bytes: number
  isAdmitted: boolean
  /** Of one that was admitted. */
  late: boolean
}

/** What becomes of a message that others are to overtake. */
export type Admission =
  /** It waits for its turn. */
  | { readonly kind: 'waits'; readonly late: boolean }
  /** It is not to be handed over at all. */
  | { readonly kind: 'passed' }
  /** It is not to be overtaken. */
  | { readonly kind: 'blocks' }
  /** That is being found out. */
  | { readonly kind: 'later' }

export interface ReadyWindowInit {
  /** False: in the order of the journal. */
  readonly byPriority: boolean
  /** Asked in the order of the journal, for what is to be overtaken and, last, for what overtakes it at `upTo`. */
  readonly admit: (candidate: Candidate, upTo: number) => Admission
}

/** What an entry takes in memory beside its body, about. */
const ENTRY_BYTES = 1024

/**
 * The messages of one channel that are next to be handed over, read ahead so that a higher priority can go first. The
 * window begins with the oldest of them and has LIMITS.readyMessages and LIMITS.readyBytes, those counted that were
 * handed over since it was read: so nothing is overtaken more often, whatever follows. Without priorities it is a queue.
 */
export class ReadyWindow {
  readonly #reader: Pick<ChannelReader, 'next' | 'position'>
  readonly #init: ReadyWindowInit
  readonly #most: number
  /** In the order of the journal, from `#first` on. */
  readonly #items: (Ready | undefined)[] = []
  #first = 0
  /** Those before this one were admitted. */
  #admitted = 0
  /** So many of them have a priority above 0. */
  #raised = 0
  #read = 0
  #bytes = 0
  #entry: Candidate['entry'] | undefined
  /** Where in the journal the furthest one ends that was taken. */
  #takenTo = 0

  constructor(reader: Pick<ChannelReader, 'next' | 'position'>, init: ReadyWindowInit) {
    this.#reader = reader
    this.#init = init
    this.#most = init.byPriority ? LIMITS.readyMessages : 1
  }

  /** Journal offset below which nothing waits here. */
  get position(): number {
    return this.#items[this.#first]?.candidate.offset ?? this.#reader.position
  }

  /** The same, but for what was admitted. */
  get unadmitted(): number {
    return this.#items[this.#admitted]?.candidate.offset ?? this.#reader.position
  }

  /** Where to go on in the journal so that nothing is missed that waits here. */
  get covered(): number {
    const first = this.#items[this.#first]
    return first === undefined ? this.#takenTo : Math.min(first.candidate.offset, this.#takenTo)
  }

  /** The first of those with the highest priority; the oldest, not admitted, where that is not to be overtaken. */
  take(): Ready | undefined {
    this.#fill()
    for (;;) {
      const best = this.#best(this.#items.length)
      if (best === undefined) return undefined
      if (best === this.#first || best < this.#admitted) return this.#takeAt(best)
      const stop = this.#admitTo(best)
      if (stop === 'later') return undefined
      if (stop === 'blocks') return this.#takeAt(this.#best(this.#admitted) ?? this.#first)
    }
  }

  /** One that was taken and not admitted waits on: nothing overtakes it. */
  putBack(item: Ready): void {
    this.#first--
    this.#admitted--
    this.#items[this.#first] = item
    if (item.priority > 0) this.#raised++
  }

  #fill(): void {
    for (;;) {
      const first = this.#items[this.#first]
      if (first !== undefined) {
        if (this.#read - first.place >= this.#most) return
        if (this.#bytes - first.bytes >= LIMITS.readyBytes) return
      }
      const candidate = this.#reader.next()
      if (candidate === undefined) return
      const { entry, message } = candidate
      if (entry !== this.#entry) this.#bytes += ENTRY_BYTES + (entry.header?.bodyLength ?? 0)
      this.#entry = entry
      const priority = message.priority ?? 0
      const place = this.#read++
      this.#items.push({
        candidate,
        priority,
        place,
        bytes: this.#bytes,
        isAdmitted: false,
        late: false
      })
      if (priority > 0) this.#raised++
    }
  }

  /** Among those before `end`. */
  #best(end: number): number | undefined {
    if (this.#first >= end) return undefined
    let best = this.#first
    let highest = 0
    if (this.#raised === 0 || !this.#init.byPriority) return best
    for (let at = best; at < end; at++) {
      const { priority } = this.#items[at] as Ready
      if (priority <= highest) continue
      best = at
      highest = priority
    }
    return best
  }

  /** Admits all up to one, and that one, or says what keeps it from that. */
  #admitTo(last: number): 'blocks' | 'later' | undefined {
    const { offset } = (this.#items[last] as Ready).candidate
    for (let left = last + 1 - this.#admitted; left > 0; left--) {
      const item = this.#items[this.#admitted] as Ready
      const admission = this.#init.admit(item.candidate, offset)
      if (admission.kind === 'blocks' || admission.kind === 'later') return admission.kind
      if (admission.kind === 'waits') {
        item.isAdmitted = true
        item.late = admission.late
        this.#admitted++
      } else {
        this.#items.splice(this.#admitted, 1)
        if (item.priority > 0) this.#raised--
      }
    }
    return undefined
  }

  #takeAt(at: number): Ready {
    const item = this.#items[at] as Ready
    if (at > this.#first) {
      this.#items.splice(at, 1)
      if (at < this.#admitted) this.#admitted--
    } else {
      this.#items[at] = undefined
      this.#first++
      this.#admitted = Math.max(this.#admitted, this.#first)
      if (this.#first > LIMITS.readyMessages) this.#cut()
    }
    if (item.priority > 0) this.#raised--
    this.#takenTo = Math.max(this.#takenTo, item.candidate.offset + 1)
    return item
  }

  /** Now and then, as each `shift` moves all. One place is left for `putBack`. */
  #cut(): void {
    const gone = this.#first - 1
    this.#items.splice(0, gone)
    this.#first -= gone
    this.#admitted -= gone
  }
}
