import type { TraceEvent } from '../trace.ts'
import type { Recorder } from './recorder.ts'

interface Letter {
  /** Undefined until its sender knows its id. */
  from: string | undefined
  /** What was seen of it before that. */
  readonly early: TraceEvent[]
  done: boolean
}

/** Inbox messages under way. A recipient can have one before its sender was told that it is stored. */
export class Letters {
  readonly #recorder: Recorder
  readonly #letters = new Map<string, Letter>()

  constructor(recorder: Recorder) {
    this.#recorder = recorder
  }

  sent(
    id: string,
    letter: { readonly from: string; readonly to: string; readonly topic: string }
  ): void {
    const known = this.#letter(id)
    known.from = letter.from
    this.#recorder.add({ kind: 'sent', id: this.#recorder.ref(id).id, ...letter })
    for (const event of known.early.splice(0)) this.#recorder.add(event)
  }

  received(id: string, node: string): void {
    this.#add(id, { kind: 'received', id: this.#recorder.ref(id).id, node })
  }

  /** Once; later ones are no news. */
  finished(id: string, how: 'receipt' | 'unreceived'): void {
    const letter = this.#letter(id)
    if (letter.done) return
    letter.done = true
    this.#add(id, { kind: how, id: this.#recorder.ref(id).id })
  }

  /** Ids of those whose sender does not know the outcome. */
  waitingOf(node: string): string[] {
    return [...this.#letters]
      .filter(([, { done, from }]) => from === node && !done)
      .map(([id]) => id)
  }

  #add(id: string, event: TraceEvent): void {
    const letter = this.#letter(id)
    if (letter.from === undefined) letter.early.push(event)
    else this.#recorder.add(event)
  }

  #letter(id: string): Letter {
    let letter = this.#letters.get(id)
    if (letter === undefined) {
      letter = { from: undefined, early: [], done: false }
      this.#letters.set(id, letter)
    }
    return letter
  }
}
