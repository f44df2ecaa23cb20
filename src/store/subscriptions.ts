import { SkeinError } from '../core/errors.ts'
import type { CommitQueue } from './commit-queue.ts'
import type { CursorState, Registration } from './contract.ts'
import { afterName, cursorKey, namePrefix, nameOf, rangeOf, SPACE } from './keys.ts'
import type { Level } from './level.ts'
import { decodeCursor, decodeJson, encodeCursor, encodeJson } from './rows.ts'

export interface SubscriptionsComponents {
  readonly queue: CommitQueue
  readonly level: () => Level
}

interface WaitingCursor {
  state: CursorState
  readonly settled: { resolve: () => void; reject: (error: unknown) => void }[]
}

/** Registrations of durable subscriptions, mirrored in memory, and their cursors. */
export class Subscriptions {
  readonly #components: SubscriptionsComponents
  readonly #registrations = new Map<string, Registration>()
  /** Not written yet, by key: the newest state replaces an older one that still waits. */
  readonly #waiting = new Map<string, WaitingCursor>()
  /** Cursors of lagging subscriptions matter when something below them is lost. */
  readonly #offsets = new Map<string, Map<string, number>>()

  constructor(components: SubscriptionsComponents) {
    this.#components = components
  }

  /** Reads everything into memory; returns the greatest offset that any cursor knows, by channel. */
  async load(): Promise<Map<string, number>> {
    const level = this.#components.level()
    this.#registrations.clear()
    this.#offsets.clear()
    this.#waiting.clear()
    for await (const [key, value] of level.iterator(rangeOf(Buffer.of(SPACE.registration)))) {
      const registration = decodeJson(value) as Registration | undefined
      if (registration === undefined) throw damagedRegistration(nameOf(key))
      this.#registrations.set(registration.name, registration)
    }
    const greatest = new Map<string, number>()
    for await (const [key, value] of level.iterator(rangeOf(Buffer.of(SPACE.cursor)))) {
      const cursor = decodeCursor(value)
      if (cursor === undefined) continue
      const channel = afterName(key).toString()
      this.#note(nameOf(key), channel, cursor)
      // Not `handed`: that is a reservation written ahead, of offsets that may not exist yet.
      const top = Math.max(cursor.offset, (cursor.acknowledged.at(-1)?.to ?? -1) + 1)
      greatest.set(channel, Math.max(top, greatest.get(channel) ?? 0))
    }
    return greatest
  }

  all(): Registration[] {
    return [...this.#registrations.values()]
  }

  /** Offset below which every durable subscription is done with `channel`; Infinity where none reads it. */
  leastOffset(channel: string): number {
    let least = Infinity
    for (const channels of this.#offsets.values())
      least = Math.min(least, channels.get(channel) ?? least)
    return least
  }

  async register(
    registration: Registration,
    cursors: ReadonlyMap<string, CursorState>
  ): Promise<void> {
    const { name } = registration
    await this.#components.queue.run(true, (commit) => {
      commit.put(namePrefix(SPACE.registration, name), encodeJson(registration))
      for (const [channel, cursor] of cursors) {
        commit.put(cursorKey(name, channel), encodeCursor(cursor))
        this.#note(name, channel, cursor)
      }
      commit.written.push(() => this.#registrations.set(name, registration))
      return true
    })
  }

  async unregister(name: string): Promise<void> {
    const { level, queue } = this.#components
    await queue.run(true, async (commit) => {
      commit.delete(namePrefix(SPACE.registration, name))
      const prefix = namePrefix(SPACE.cursor, name)
      for await (const key of level().keys(rangeOf(prefix))) commit.delete(key)
      commit.written.push(() => {
        this.#registrations.delete(name)
        this.#offsets.delete(name)
      })
      return true
    })
  }

  async cursors(name: string): Promise<Map<string, CursorState>> {
    const cursors = new Map<string, CursorState>()
    const prefix = namePrefix(SPACE.cursor, name)
    for await (const [key, value] of this.#components.level().iterator(rangeOf(prefix))) {
      const cursor = decodeCursor(value)
      // A cursor that is lost is as good as one that was never written: its owner starts over.
      if (cursor !== undefined) cursors.set(afterName(key).toString(), cursor)
    }
    for (const [key, { state }] of this.#waiting) {
      const bytes = Buffer.from(key, 'latin1')
      if (nameOf(bytes) === name) cursors.set(afterName(bytes).toString(), state)
    }
    return cursors
  }

  saveCursor(name: string, channel: string, state: CursorState): Promise<void> {
    const key = cursorKey(name, channel)
    const id = key.toString('latin1')
    return new Promise((resolve, reject) => {
      const waiting = this.#waiting.get(id)
      if (waiting !== undefined) {
        waiting.state = state
        waiting.settled.push({ resolve, reject })
        return
      }
      const cursor: WaitingCursor = { state, settled: [{ resolve, reject }] }
      this.#waiting.set(id, cursor)
      this.#components.queue.push({
        sync: false,
        build: (commit) => {
          this.#waiting.delete(id)
          commit.put(key, encodeCursor(cursor.state))
          this.#note(name, channel, cursor.state)
          return true
        },
        settle: () => {
          for (const { resolve: done } of cursor.settled) done()
        },
        fail: (error) => {
          this.#waiting.delete(id)
          for (const { reject: refuse } of cursor.settled) refuse(error)
        }
      })
    })
  }

  #note(name: string, channel: string, { offset }: CursorState): void {
    let channels = this.#offsets.get(name)
    if (channels === undefined) {
      channels = new Map()
      this.#offsets.set(name, channels)
    }
    channels.set(channel, offset)
  }
}

function damagedRegistration(name: string): SkeinError {
  return new SkeinError(
    'ERR_STORE_CORRUPT',
    `the registration of the durable subscription '${name}' is damaged; restore the data directory from a ` +
      'copy, or move it away to start empty',
    { details: { subscription: name } }
  )
}
