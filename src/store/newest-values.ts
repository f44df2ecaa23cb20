import { comparePlaces, type TimePlace } from '../wire/time-cursor.ts'
import type { RecordHeader } from '../wire/record.ts'

/** The place in time of one of a record's messages. */
export function placeOf(
  { first, publisher, session, time }: RecordHeader,
  index: number
): TimePlace {
  return { time, publisher, session, sequence: first + index }
}

/**
 * The newest values of each name, by hybrid time. Journals of two nodes have the same messages in different orders, and
 * what came last is not what is newest: this way both keep the same.
 */
export class NewestValues {
  readonly #most: number
  /** At most `#most` each, newest last. */
  readonly #places = new Map<string, TimePlace[]>()

  constructor(most: number) {
    this.#most = most
  }

  add(name: string, place: TimePlace): void {
    const places = this.#places.get(name)
    if (places === undefined) {
      this.#places.set(name, [place])
      return
    }
    let at = places.length
    while (at > 0 && comparePlaces(places[at - 1] as TimePlace, place) > 0) at--
    if (at === 0 && places.length === this.#most) return
    places.splice(at, 0, place)
    if (places.length > this.#most) places.shift()
  }

  /** How many newer ones there are; `most` where it is not among the newest any more. */
  newerThan(name: string, place: TimePlace): number {
    const places = this.#places.get(name) ?? []
    const at = places.findLastIndex((other) => comparePlaces(other, place) === 0)
    return at === -1 ? this.#most : places.length - 1 - at
  }
}

/** The newest message of each name, and where it stands. */
export class LastOffsets {
  readonly #last = new Map<string, { offset: number; place: TimePlace }>()

  add(name: string, offset: number, place: TimePlace): void {
    const other = this.#last.get(name)
    if (other !== undefined && comparePlaces(other.place, place) >= 0) return
    this.#last.set(name, { offset, place })
  }

  ascending(): number[] {
    return Array.from(this.#last.values(), ({ offset }) => offset).sort((a, b) => a - b)
  }
}
