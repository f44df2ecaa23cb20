import type { Clock, Timer } from '../core/clock.ts'
import { isSkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Logger } from '../core/logger.ts'
import type { Random } from '../core/random.ts'
import type { PeerId, Transport } from '../mesh/contract.ts'
import {
  type Announcement,
  decodeAnnouncement,
  encodeAnnouncement,
  PRESENCE_CHANNEL
} from '../wire/presence.ts'
import type { EphemeralMessages, EphemeralReceiver, EphemeralSender } from './ephemeral.ts'
import type { SealedRecord } from '../wire/record.ts'
import type { Membership } from './membership.ts'
import type { PeerDirectory } from './peer-directory.ts'

export interface PresenceComponents {
  readonly transport: Pick<Transport, 'self' | 'events' | 'members'>
  readonly membership: Pick<Membership, 'hold'>
  readonly clock: Clock
  readonly random: Random
  readonly sender: Pick<EphemeralSender, 'send' | 'repeat'>
  readonly receiver: Pick<EphemeralReceiver, 'events'>
  readonly directory: Pick<PeerDirectory, 'heard' | 'presentCount'>
  readonly logger: Logger
  /** Default `decodeAnnouncement`; nodes that share a process may share what they found. */
  readonly announcementOf?: typeof decodeAnnouncement | undefined
}

/** What an announcement says beyond what never changes. */
export type PresenceContent = Pick<
  Announcement,
  'channels' | 'services' | 'groups' | 'subscriptions' | 'addresses'
>

export interface PresenceInit {
  readonly name: string
  readonly custodian: boolean
  /** 16 hex digits, another after each start: the ephemeral sender's session. */
  readonly session: string
  /** Asked before each announcement. */
  readonly content: () => PresenceContent | Promise<PresenceContent>
  /** Shortest interval, ms; default LIMITS.presenceIntervalMs. For simulations. */
  readonly leastIntervalMs?: number | undefined
}

/** Counters since start. */
export interface PresenceStats {
  announced: number
  heard: number
  /** Announcements that could not be read. */
  malformed: number
  /** Announcements under the name of another peer. */
  forged: number
}

const NOTHING: PresenceContent = {
  channels: [],
  services: [],
  groups: [],
  subscriptions: [],
  addresses: []
}

/**
 * Time between two announcements of a node, ms, where `present` nodes are in the mesh: all together announce
 * LIMITS.presencePerSecond times a second at most, however many they are.
 */
export function announceInterval(
  present: number,
  leastMs: number = LIMITS.presenceIntervalMs
): number {
  const shared = Math.ceil((present * 1000) / LIMITS.presencePerSecond)
  return Math.min(LIMITS.presenceIntervalMaxMs, Math.max(leastMs, shared))
}

/**
 * Says what this node is, in intervals that grow with the mesh, and sooner where something has changed; a new neighbour
 * gets what was said last. Hears what others say and tells the directory.
 */
export class Presence {
  readonly stats: PresenceStats = { announced: 0, heard: 0, malformed: 0, forged: 0 }
  readonly #components: PresenceComponents
  readonly #init: PresenceInit
  readonly #ends: (() => void)[] = []
  #state: 'new' | 'open' | 'stopped' = 'new'
  /** The next announcement in turn, and the one before its turn. */
  #regular: Timer | undefined
  #prompt: Timer | undefined
  /** The newest announcement; undefined while nobody heard it. */
  #announced: SealedRecord | undefined
  /** Monotonic ms of the newest one that somebody heard. */
  #announcedAt = -Infinity
  #intervalMs: number
  #said = ''
  #content: PresenceContent = NOTHING
  #running: Promise<void> = Promise.resolve()

  constructor(components: PresenceComponents, init: PresenceInit) {
    this.#components = components
    this.#init = init
    this.#intervalMs = announceInterval(1, init.leastIntervalMs)
  }

  /** Joins the channel and announces. Idempotent. */
  start(): void {
    if (this.#state !== 'new') return
    this.#state = 'open'
    const { membership, receiver, transport } = this.#components
    this.#ends.push(
      membership.hold(PRESENCE_CHANNEL),
      receiver.events.on('message', (record) => this.#hear(record)),
      // Not when the connection comes up: a neighbour hears nothing before it has said that it is a member.
      transport.events.on('channel:up', ({ channel, peer }) => {
        if (channel === PRESENCE_CHANNEL) this.#greet(peer)
      })
    )
    this.#announce(true)
  }

  /** What `content` gives may have changed: if it did in what others act on, they are told soon. */
  changed(): void {
    this.#soon()
  }

  /** Says goodbye; the transport must still run. Idempotent. */
  async stop(): Promise<void> {
    const wasOpen = this.#state === 'open'
    this.#state = 'stopped'
    this.#regular?.cancel()
    this.#prompt?.cancel()
    for (const end of this.#ends.splice(0)) end()
    await this.#running
    if (!wasOpen) return
    await this.#refresh()
    this.#send({ bye: true })
  }

  #hear({ channel, messages, publisher }: EphemeralMessages): void {
    if (channel !== PRESENCE_CHANNEL || publisher === this.#components.transport.self.id) return
    const { announcementOf = decodeAnnouncement } = this.#components
    for (const { payload, suffix } of messages) {
      if (suffix !== `/${publisher}`) {
        this.stats.forged++
        continue
      }
      const said = announcementOf(payload)
      if (said === undefined) {
        this.stats.malformed++
        continue
      }
      this.stats.heard++
      this.#components.directory.heard(publisher, said)
    }
  }

  /**
   * Only the new neighbour lacks what the others have heard. If it is one of a part of the mesh that was cut off, it
   * is news to the others there and goes on among them.
   */
  #greet(peer: PeerId): void {
    if (this.#announced === undefined) this.#soon()
    else this.#components.sender.repeat(this.#announced, peer)
  }

  /** Before its turn, at most once in half an interval and once a second. */
  #soon(): void {
    if (this.#state !== 'open' || this.#prompt !== undefined) return
    const { clock } = this.#components
    const due = this.#announcedAt + this.#intervalMs / 2
    this.#prompt = clock.after(Math.max(0, due - clock.monotonic()), () => {
      this.#prompt = undefined
      this.#announce(this.#announced === undefined)
    })
  }

  /** One after the other: content may take its time. */
  #announce(forced: boolean): void {
    this.#running = this.#running.then(async () => {
      await this.#refresh()
      if (this.#state !== 'open') return
      const said = this.#material()
      if (!forced && said === this.#said) return
      this.#said = said
      this.#send({})
      this.#again()
    })
  }

  #again(): void {
    const { clock, random } = this.#components
    this.#regular?.cancel()
    // 0.9 to 1.1, so that nodes that started together do not speak together for ever.
    const spread = 0.9 + random.int(201) / 1000
    this.#regular = clock.after(this.#intervalMs * spread, () => this.#announce(true))
  }

  /** A node that cannot say how far its subscriptions are still says that it lives. */
  async #refresh(): Promise<void> {
    try {
      this.#content = await this.#init.content()
    } catch (error) {
      if (!isSkeinError(error)) throw error
      this.#components.logger.debug({ err: error }, 'announcing what was announced before')
    }
  }

  /** What others act on at once; lags and addresses wait for their turn. */
  #material(): string {
    const { channels, groups, services } = this.#content
    return JSON.stringify([channels, groups, services].map((list) => list.toSorted()))
  }

  #send(more: Pick<Announcement, 'bye'>): void {
    const { clock, directory, logger, sender, transport } = this.#components
    const { custodian, leastIntervalMs, name, session } = this.#init
    const isHeard = transport.members(PRESENCE_CHANNEL).length > 0
    this.#intervalMs = announceInterval(directory.presentCount, leastIntervalMs)
    const payload = encodeAnnouncement({
      name,
      session,
      intervalMs: this.#intervalMs,
      custodian,
      ...this.#content,
      ...more
    })
    try {
      const record = sender.send(PRESENCE_CHANNEL, [
        { suffix: `/${transport.self.id}`, payload, contentType: 'application/json' }
      ])
      this.stats.announced++
      this.#announced = isHeard ? record : undefined
      if (isHeard) this.#announcedAt = clock.monotonic()
    } catch (error) {
      if (!isSkeinError(error)) throw error
      logger.error({ err: error }, 'this node could not be announced')
    }
  }
}
