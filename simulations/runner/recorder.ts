import { parseMessageId } from '../../src/wire/message-id.ts'
import type { MessageRef, TraceEvent } from '../trace.ts'

/** Writes down what happens, with the names of a scenario in place of identities. */
export class Recorder {
  readonly trace: TraceEvent[] = []
  readonly #now: () => number
  readonly #names = new Map<string, string>()
  readonly #peers = new Map<string, string>()
  readonly #refs = new Map<string, MessageRef>()

  /** `now`: ms since the run began. */
  constructor(now: () => number) {
    this.#now = now
  }

  add(event: TraceEvent): void {
    this.trace.push({ ...event, at: this.#now() })
  }

  /** From now on the peer is called so. */
  named(peer: string, name: string): void {
    this.#names.set(peer, name)
    this.#peers.set(name, peer)
  }

  nameOf(peer: string): string {
    return this.#names.get(peer) ?? peer
  }

  /** The last identity of a node; undefined while it has had none. */
  peerOf(name: string): string | undefined {
    return this.#peers.get(name)
  }

  /** A message by its id, as the trace knows it. */
  ref(id: string): MessageRef {
    const known = this.#refs.get(id)
    if (known !== undefined) return known
    const { channel, publisher, sequence, session } = parseMessageId(id)
    const name = this.nameOf(publisher)
    // An inbox is named after its owner's identity.
    const shown = channel.startsWith('@') ? `@${this.nameOf(channel.slice(1))}` : channel
    const ref: MessageRef = {
      id: `${name}/${session}/${sequence}/${shown}`,
      publisher: name,
      session,
      sequence,
      channel: shown
    }
    this.#refs.set(id, ref)
    return ref
  }
}
