import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../../src/core/clock.ts'
import type { Clock } from '../../src/core/clock.ts'
import { silentLogger } from '../../src/core/logger.ts'
import { seededRandom } from '../../src/core/random.ts'
import type { LogRef, Store } from '../../src/store/contract.ts'
import { openDirectory, openMemory } from '../../src/store/directory.ts'
import { createStore } from '../../src/store/level-store.ts'
import { JOURNAL_START } from '../../src/store/mirror.ts'
import type { StoreComponents, StoreInit } from '../../src/store/level-store.ts'
import { BodyBuilder } from '../../src/wire/body.ts'
import type { EncodableMessage } from '../../src/wire/body.ts'
import type { PreviousSession, SealedRecord } from '../../src/wire/record.ts'
import { peerIdFromPublicKey } from '../../src/wire/peer-id.ts'
import { sealRecord } from '../../src/wire/sealed-record.ts'
import { createSigner } from '../../src/wire/signature.ts'

/** A place where a store is kept, which outlives the store. */
export interface Disk {
  components(): Promise<Partial<StoreComponents> & Pick<StoreComponents, 'openLevel'>>
  remove(): Promise<void>
}

export async function directoryDisk(): Promise<Disk & { path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'skein-store-'))
  return {
    path,
    components: () => openDirectory(path),
    remove: () => rm(path, { recursive: true, force: true })
  }
}

export function memoryDisk(): Promise<Disk> {
  const memory = openMemory()
  return Promise.resolve({
    components: () => Promise.resolve(memory),
    remove: () => Promise.resolve()
  })
}

export async function openStore(
  disk: Disk,
  overrides: Partial<StoreComponents> = {},
  init: StoreInit = { reserveBytes: 0 }
): Promise<Store> {
  const { openLevel, freeSpace, probeSpace, marker } = await disk.components()
  const store = createStore(
    {
      clock: systemClock,
      random: seededRandom(1),
      logger: silentLogger,
      openLevel,
      ...(freeSpace === undefined ? {} : { freeSpace }),
      ...(probeSpace === undefined ? {} : { probeSpace }),
      ...(marker === undefined ? {} : { marker }),
      ...overrides
    },
    init
  )
  await store.start()
  return store
}

/** A clock that stands still until it is moved; timers do not fire. */
export function stillClock(now: number): Clock & { move(ms: number): void } {
  let at = now
  return {
    now: () => at,
    monotonic: () => at,
    after: () => ({ cancel: () => undefined }),
    soon: (callback) => setImmediate(callback),
    move: (ms) => {
      at += ms
    }
  }
}

/** Seals chained records of one log. */
export class Author {
  readonly ref: LogRef
  readonly #signer
  readonly #before: PreviousSession | undefined
  #next = 1
  #previous: Uint8Array | undefined

  constructor(
    options: { seed?: number; channel?: string; session?: string; before?: PreviousSession } = {}
  ) {
    this.#before = options.before
    this.#signer = createSigner(Buffer.alloc(32, options.seed ?? 1))
    this.ref = {
      channel: options.channel ?? 'orders',
      publisher: peerIdFromPublicKey(this.#signer.publicKey),
      session: options.session ?? '0001000000000001'
    }
  }

  /** The next record of the log. */
  write(messages: readonly Partial<EncodableMessage>[] | number = 1): SealedRecord {
    const record = this.seal(this.#next, this.#previous, messages)
    this.#next += record.header.count
    this.#previous = record.digest
    return record
  }

  /** Where the log ends now, for the session after this one. */
  get end(): PreviousSession {
    const digest = this.#previous ?? Buffer.alloc(32)
    return { session: this.ref.session, sequence: this.#next - 1, digest }
  }

  /** `count` records of one message. */
  many(count: number): SealedRecord[] {
    return Array.from({ length: count }, () => this.write())
  }

  /** Any record. */
  seal(
    first: number,
    previous: Uint8Array | undefined,
    messages: readonly Partial<EncodableMessage>[] | number = 1,
    timeMs = 1000 + first
  ): SealedRecord {
    const builder = new BodyBuilder()
    const list =
      typeof messages === 'number'
        ? Array.from({ length: messages }, (_, index) => ({
            payload: Buffer.from(`${first + index}`)
          }))
        : messages
    for (const message of list) {
      builder.add({ suffix: '/a', payload: new Uint8Array(0), ...message } as EncodableMessage)
    }
    return sealRecord(
      {
        session: this.ref.session,
        channel: this.ref.channel,
        first,
        count: list.length,
        previous,
        before: first === 1 ? this.#before : undefined,
        time: { ms: timeMs, counter: 0 },
        body: Buffer.from(builder.finish())
      },
      this.#signer
    )
  }
}

/** Appends records as if they had just come in. */
export function append(
  store: Store,
  records: readonly SealedRecord[],
  options: { ageMs?: number; floor?: number; sync?: boolean } = {}
): ReturnType<Store['append']> {
  const { ageMs = 0, floor, sync = false } = options
  const items = records.map((record) => ({
    record,
    ageMs,
    ...(floor === undefined ? {} : { floor })
  }))
  return store.append(items, { sync })
}

/** Offsets in tests are counted from where a new journal begins. */
export const relative = (offset: number): number => offset - JOURNAL_START
export const absolute = (offset: number): number => offset + JOURNAL_START

/** Bounds of a journal, relative. */
export function boundsOf(store: Store, channel = 'orders'): { first: number; next: number } {
  const { first, next } = store.journal(channel)
  return { first: relative(first), next: relative(next) }
}

/** The whole journal of a channel, as [first sequence, relative offset, count]. */
export async function journalOf(store: Store, channel = 'orders'): Promise<number[][]> {
  const rows: number[][] = []
  const { first, next } = store.journal(channel)
  for (let offset = first; offset < next;) {
    const entries = await store.readJournal(channel, offset, { maxBytes: 2000 })
    const last = entries.at(-1)
    if (last === undefined) break
    offset = last.offset + last.count
    for (const entry of entries) {
      rows.push([entry.header?.first ?? 0, relative(entry.offset), entry.count])
    }
  }
  return rows
}

/** The whole journal of a channel in words: last digit of the session, first sequence, late or not. */
export async function storyOf(store: Store, channel = 'orders'): Promise<string[]> {
  const { first, next } = store.journal(channel)
  const words: string[] = []
  for (let offset = first; offset < next;) {
    const entries = await store.readJournal(channel, offset)
    const last = entries.at(-1)
    if (last === undefined) break
    offset = last.offset + last.count
    for (const { header, late } of entries) {
      words.push(`${header?.session.at(-1)}:${header?.first}${late ? ' late' : ''}`)
    }
  }
  return words
}

/** Both kinds of database, for `describe.each`. */
export const DISKS: readonly (readonly [string, () => Promise<Disk>])[] = [
  ['classic-level', directoryDisk],
  ['memory-level', memoryDisk]
]
