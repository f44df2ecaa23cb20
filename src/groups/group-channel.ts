import { Emitter, type Events } from '../core/events.ts'
import { KIB } from '../core/limits.ts'
import type { Logger } from '../core/logger.ts'
import type { PeerId } from '../mesh/contract.ts'
import type { Receipt } from '../replication/batch.ts'
import type { Publisher } from '../replication/publisher.ts'
import type { JournalEntry, Store } from '../store/contract.ts'
import { decodeMessages } from '../wire/body.ts'
import type { HybridTime } from '../wire/hybrid-clock.ts'
import { FLAGS } from '../wire/record.ts'
import { Heard } from './heard.ts'
import { GroupState } from './group-state.ts'
import { groupChannel, isMalformed, type ValueKind, valueTopic } from './group-values.ts'

export interface GroupChannelComponents {
  readonly store: Pick<Store, 'events' | 'journal' | 'readJournal'>
  readonly publisher: Pick<Publisher, 'publish' | 'replicas'>
  readonly logger: Logger
}

export interface GroupChannelInit {
  /** Name of the group. */
  readonly name: string
  readonly self: PeerId
}

export interface GroupChannelEvents {
  /** Somebody, this node included, said something new. */
  changed: { kinds: ReadonlySet<ValueKind>; publisher: PeerId }
  /** The group was forgotten: nothing that was said before counts. */
  forgotten: Record<never, never>
}

/** Read from the journal at once. */
const READ_BYTES = 256 * KIB

/** What the members of one group say, as it stands in the group's channel on this node. */
export class GroupChannel {
  readonly channel: string
  state = new GroupState()
  /** How far it has been read, by publisher. */
  readonly heard = new Heard()
  /** When the definition that counts was made, by this node's clock, ms. */
  definedAt = 0
  readonly #components: GroupChannelComponents
  readonly #init: GroupChannelInit
  readonly #emitter: Emitter<GroupChannelEvents>
  #isRead = false
  /** Up to here nothing counts. */
  #forgottenAt: HybridTime | undefined
  #unsubscribe: (() => void) | undefined

  constructor(components: GroupChannelComponents, init: GroupChannelInit) {
    this.#components = components
    this.#init = init
    this.channel = groupChannel(init.name)
    this.#emitter = new Emitter((error) =>
      components.logger.error({ err: error, group: init.name }, 'a listener of a group threw')
    )
  }

  get events(): Events<GroupChannelEvents> {
    return this.#emitter
  }

  /** Resolves when what is in the journal has been read; from then on it follows. */
  async start(): Promise<void> {
    const { store } = this.#components
    this.#unsubscribe = store.events.on('journal', ({ channel, entries }) => {
      if (channel === this.channel) for (const entry of entries) this.#take(entry)
    })
    for (;;) {
      const before = this.#forgottenAt
      await this.#readAll()
      // What was read before that is read again, for it may not count.
      if (before === this.#forgottenAt) break
    }
    this.#isRead = true
  }

  /** It was forgotten, and there is no newer one of its name. */
  get isForgotten(): boolean {
    return this.#forgottenAt !== undefined && this.state.definition === undefined
  }

  async #readAll(): Promise<void> {
    const { store } = this.#components
    const { first, next } = store.journal(this.channel)
    for (let offset = first; offset < next && this.#unsubscribe !== undefined;) {
      const entries = await store.readJournal(this.channel, offset, { maxBytes: READ_BYTES })
      const last = entries.at(-1)
      if (last === undefined) return
      for (const entry of entries) this.#take(entry)
      offset = last.offset + last.count
    }
  }

  stop(): void {
    this.#unsubscribe?.()
    this.#unsubscribe = undefined
  }

  /** Resolves when the value is on this node's disk. Rejects with what `Publisher.publish` rejects with. */
  say(kind: ValueKind, payload: Uint8Array, key?: string): Promise<Receipt> {
    const topic = valueTopic(this.channel, this.#init.self, kind)
    const { suffix, suffixBytes } = topic
    return this.#components.publisher.publish(
      { topic, suffix, suffixBytes, payload, key },
      'stored'
    )
  }

  /** Resolves when another node holds what was said, rejects with ERR_REPLICAS when none does in time. */
  async held(receipts: readonly Receipt[], timeoutMs: number): Promise<void> {
    const { replicas } = this.#components.publisher
    await replicas.confirm(this.channel, { replicas: 1, timeoutMs }, async () => [...receipts])
  }

  #take(entry: JournalEntry): void {
    if (entry.header === undefined) return
    const { count, first, publisher, session } = entry.header
    const kinds = this.#read(entry)
    this.heard.put(publisher, { session, sequence: first + count - 1 })
    if (kinds.size > 0) this.#emitter.emit('changed', { kinds, publisher })
  }

  #read({ bornAt, record }: JournalEntry): Set<ValueKind> {
    const kinds = new Set<ValueKind>()
    if (record === undefined || (record.header.flags & FLAGS.control) !== 0) return kinds
    const { count, publisher, time } = record.header
    try {
      for (const { key, payload, suffix } of decodeMessages(record.body, count)) {
        if (this.#forgottenAt !== undefined && !isAfter(time, this.#forgottenAt)) continue
        const kind = this.state.apply({ publisher, suffix, key, payload })
        if (kind === undefined) continue
        kinds.add(kind)
        if (kind === 'forgotten') this.#forget(time)
        if (kind === 'definition') this.definedAt = bornAt
      }
    } catch (error) {
      if (!isMalformed(error)) throw error
      this.#components.logger.debug(
        { err: error, group: this.#init.name, peer: publisher },
        'a member of a group said what cannot be read'
      )
    }
    return kinds
  }

  #forget(time: HybridTime): void {
    this.#forgottenAt = time
    this.state = new GroupState()
    this.definedAt = 0
    if (this.#isRead) this.#emitter.emit('forgotten', {})
  }
}

function isAfter(a: HybridTime, b: HybridTime): boolean {
  return a.ms === b.ms ? a.counter > b.counter : a.ms > b.ms
}
