import { SLOTS } from './slots.ts'

/** Who has a slot, by the word of the one that had it before, or of the one that took it over. */
export interface Tenure {
  /** One more at each change of hands. */
  readonly epoch: number
  /** PeerId. */
  readonly owner: string
  /** Which of its owner's memberships: it ends with that. */
  readonly life: number
}

/** For each slot the newest tenure known. Two tables merge slot by slot: the later one counts. */
export class SlotTable {
  readonly #tenures: (Tenure | undefined)[]
  /** Epochs at which two had taken a slot, by slot. */
  readonly #contested = new Map<number, number>()

  constructor(tenures: Iterable<Tenure | undefined> = []) {
    this.#tenures = [...tenures].slice(0, SLOTS)
  }

  get(slot: number): Tenure | undefined {
    return this.#tenures[slot]
  }

  /** False where the tenure known is as late. */
  put(slot: number, tenure: Tenure): boolean {
    if (slot < 0 || slot >= SLOTS) return false
    const known = this.#tenures[slot]
    if (known?.epoch === tenure.epoch && !isSame(known, tenure)) {
      this.#contested.set(slot, tenure.epoch)
    }
    if (!isLater(tenure, known)) return false
    this.#tenures[slot] = tenure
    return true
  }

  /** Has somebody else taken it at the epoch of the tenure known? */
  isContested(slot: number): boolean {
    const epoch = this.#tenures[slot]?.epoch
    return epoch !== undefined && this.#contested.get(slot) === epoch
  }

  /** False where nothing changed. */
  merge(other: SlotTable): boolean {
    let changed = false
    for (const [slot, tenure] of other.#tenures.entries()) {
      if (tenure !== undefined) changed = this.put(slot, tenure) || changed
    }
    return changed
  }

  copy(): SlotTable {
    return new SlotTable(this.#tenures)
  }

  *entries(): IterableIterator<[number, Tenure | undefined]> {
    for (let slot = 0; slot < SLOTS; slot++) yield [slot, this.#tenures[slot]]
  }
}

function isSame(a: Tenure, b: Tenure): boolean {
  return a.owner === b.owner && a.life === b.life
}

/** A total order, so that all who know the same tenures agree. */
function isLater(a: Tenure, b: Tenure | undefined): boolean {
  if (b === undefined) return true
  if (a.epoch !== b.epoch) return a.epoch > b.epoch
  if (a.owner !== b.owner) return a.owner > b.owner
  return a.life > b.life
}
