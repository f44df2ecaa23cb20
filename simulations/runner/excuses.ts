import type { PublisherLoad, Scenario } from '../scenario/contract.ts'
import type { MessageRef, TraceEvent } from '../trace.ts'
import type { RunTime } from './contract.ts'
import type { Recorder } from './recorder.ts'

type Reason = Extract<TraceEvent, { kind: 'excused' }>['reason']

/** Writes down which messages nobody is owed any more: as the scenario says, or as their publisher's store says. */
export class Excuses {
  readonly #time: RunTime
  readonly #recorder: Recorder
  /** The least that any node keeps of a topic and key; undefined = every message. */
  readonly #keepLast: number | undefined
  readonly #newest = new Map<string, MessageRef[]>()
  readonly #floors = new Map<string, number>()

  constructor(time: RunTime, recorder: Recorder, { nodes }: Scenario) {
    this.#time = time
    this.#recorder = recorder
    const kept = nodes.flatMap(({ retention: { keepLast } }) => keepLast ?? [])
    this.#keepLast = kept.length === 0 ? undefined : Math.min(...kept)
  }

  confirmed(
    message: MessageRef,
    { key, topic, ttlMs }: Pick<PublisherLoad, 'key' | 'topic' | 'ttlMs'>
  ): void {
    const { sequence } = message
    const range = { from: sequence, to: sequence }
    if (ttlMs !== undefined) {
      this.#time.schedule(ttlMs, () => this.#excuse(message, range, 'expired'))
    }
    if (this.#keepLast === undefined) return
    const name = `${topic} ${key ?? ''}`
    const newest = this.#newest.get(name) ?? []
    this.#newest.set(name, newest)
    newest.push(message)
    const replaced = newest.length > this.#keepLast ? newest.shift() : undefined
    if (replaced === undefined) return
    this.#excuse(replaced, { from: replaced.sequence, to: replaced.sequence }, 'compacted')
  }

  /** Retention took everything below `floor` from a publisher's own log. */
  trimmed(log: Pick<MessageRef, 'channel' | 'publisher' | 'session'>, floor: number): void {
    const { channel, publisher, session } = log
    const name = `${publisher}/${session}/${channel}`
    if (/^[$@]/.test(channel) || floor <= (this.#floors.get(name) ?? 1)) return
    this.#floors.set(name, floor)
    const known = { publisher: this.#recorder.nameOf(publisher), session, channel }
    this.#excuse(known, { from: 1, to: floor - 1 }, 'trimmed')
  }

  #excuse(
    { channel, publisher, session }: Pick<MessageRef, 'channel' | 'publisher' | 'session'>,
    range: { readonly from: number; readonly to: number },
    reason: Reason
  ): void {
    this.#recorder.add({ kind: 'excused', publisher, session, channel, ...range, reason })
  }
}
