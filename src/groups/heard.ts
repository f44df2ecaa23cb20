/** How far a log is known: sessions compare as text, a later one counts more than any sequence. */
export interface Position {
  /** 16 hex digits. */
  readonly session: string
  readonly sequence: number
}

export function isAtLeast(a: Position | undefined, b: Position): boolean {
  if (a === undefined) return false
  return a.session === b.session ? a.sequence >= b.sequence : a.session > b.session
}

/** How far somebody has read what each member of a group says. Only grows. */
export class Heard {
  readonly #positions = new Map<string, Position>()

  constructor(positions: Iterable<readonly [peer: string, position: Position]> = []) {
    for (const [peer, position] of positions) this.put(peer, position)
  }

  get(peer: string): Position | undefined {
    return this.#positions.get(peer)
  }

  /** False where as much was known. */
  put(peer: string, position: Position): boolean {
    if (isAtLeast(this.#positions.get(peer), position)) return false
    this.#positions.set(peer, position)
    return true
  }

  /** False where nothing changed. */
  merge(other: Heard): boolean {
    let changed = false
    for (const [peer, position] of other.#positions) changed = this.put(peer, position) || changed
    return changed
  }

  /** Is all that `other` has read in it? */
  covers(other: Heard): boolean {
    for (const [peer, position] of other.#positions) {
      if (!isAtLeast(this.#positions.get(peer), position)) return false
    }
    return true
  }

  entries(): IterableIterator<[string, Position]> {
    return this.#positions.entries()
  }
}
