import type { LogRef, SequenceRange, Store } from '../store/contract.ts'
import { emptyHeld, type HeldRange, insertRange } from '../wire/vector.ts'

/**
 * How far each of this node's own inbox logs is done with. A message that was never told of here, as one whose
 * `send` is still under way, holds the floor.
 */
export class OutboxLogs {
  readonly #store: Pick<Store, 'log' | 'raiseFloor'>
  /** By log: what is done with. */
  readonly #done = new Map<string, HeldRange>()

  constructor(store: Pick<Store, 'log' | 'raiseFloor'>) {
    this.#store = store
  }

  /** These messages wait no more. Raises the floor of their log where nothing before them waits. */
  async finish(log: LogRef, sequences: readonly number[]): Promise<void> {
    const floor = this.#store.log(log)?.floor
    if (floor === undefined) return
    const key = `${log.channel}/${log.session}`
    let done = this.#done.get(key) ?? emptyHeld(floor)
    for (const range of rangesOf(sequences)) {
      // Never more islands than messages that wait between them.
      done = insertRange(done, range, Infinity) ?? done
    }
    this.#done.set(key, done)
    if (done.head >= floor) await this.#store.raiseFloor(log, done.head + 1)
  }
}

function rangesOf(sequences: readonly number[]): SequenceRange[] {
  const ranges: SequenceRange[] = []
  for (const sequence of sequences.toSorted((a, b) => a - b)) {
    const last = ranges.at(-1)
    if (last !== undefined && sequence <= last.to + 1) {
      ranges[ranges.length - 1] = { from: last.from, to: sequence }
    } else ranges.push({ from: sequence, to: sequence })
  }
  return ranges
}
