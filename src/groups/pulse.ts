import { type Clock, every, type Timer } from '../core/clock.ts'
import { isSkeinError } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import type { PeerId } from '../mesh/contract.ts'
import type {
  EphemeralMessages,
  EphemeralReceiver,
  EphemeralSender
} from '../replication/ephemeral.ts'
import { type Beat, decodeBeat, encodeBeat, type Moment } from './beat.ts'
import type { GroupChannel } from './group-channel.ts'
import { isMalformed } from './group-values.ts'
import { isAtLeast, type Position } from './heard.ts'

export interface PulseComponents {
  readonly channel: Pick<GroupChannel, 'channel' | 'heard'>
  readonly sender: Pick<EphemeralSender, 'send'>
  readonly receiver: Pick<EphemeralReceiver, 'events'>
  readonly clock: Clock
  readonly logger: Logger
}

export interface PulseInit {
  readonly self: PeerId
  readonly life: number
  /** Somebody's beat was heard. */
  readonly onBeat: () => void
}

const BEAT_MS = 500
/** Answers of one member that say more than is read here yet. */
const MAX_ANSWERS = 16

interface Member {
  readonly life: number
  newest: Beat
  /** Monotonic ms. */
  heardAt: number
  /** Beats that name one of this node's, and say more than has been read here: oldest first. */
  answers: { readonly at: number; readonly beat: Beat }[]
  /** Newest beat of this node that it is known to have heard, all that it had read by then being here: monotonic ms. */
  answeredAt: number
}

/** Tells the other members several times a second that this node lives, and whom of them it hears. */
export class Pulse {
  readonly #components: PulseComponents
  readonly #init: PulseInit
  readonly #members = new Map<PeerId, Member>()
  readonly #startedAt: number
  #timer: Timer | undefined
  #unsubscribe: (() => void) | undefined

  constructor(components: PulseComponents, init: PulseInit) {
    this.#components = components
    this.#init = init
    this.#startedAt = components.clock.monotonic()
  }

  start(): void {
    const { channel, clock, receiver } = this.#components
    this.#unsubscribe = receiver.events.on('message', (record) => {
      if (record.channel === channel.channel) this.#hear(record)
    })
    this.#timer = every(clock, BEAT_MS, () => this.#beat())
    this.#beat()
  }

  stop(): void {
    this.#timer?.cancel()
    this.#unsubscribe?.()
  }

  /** How long nothing has been heard of the member, ms; at most since this node is one. */
  silentMs(peer: PeerId, life: number): number {
    const now = this.#components.clock.monotonic()
    return now - (this.#of(peer, life)?.heardAt ?? this.#startedAt)
  }

  /** When this node last said something that the member answered and that counts: monotonic ms. */
  answeredAt(peer: PeerId, life: number): number {
    const member = this.#of(peer, life)
    if (member === undefined) return -Infinity
    for (const [index, { at, beat }] of [...member.answers.entries()].toReversed()) {
      if (!this.#components.channel.heard.covers(beat.read)) continue
      member.answeredAt = Math.max(member.answeredAt, at)
      member.answers = member.answers.slice(index + 1)
      break
    }
    return member.answeredAt
  }

  /** Has the member read so far in the log of `publisher`, and is all here that it had read by then? */
  hasRead(peer: PeerId, life: number, publisher: PeerId, position: Position): boolean {
    const read = this.#of(peer, life)?.newest.read
    if (read === undefined || !isAtLeast(read.get(publisher), position)) return false
    return this.#components.channel.heard.covers(read)
  }

  #of(peer: PeerId, life: number): Member | undefined {
    const member = this.#members.get(peer)
    return member?.life === life ? member : undefined
  }

  #beat(): void {
    const { channel, clock, logger, sender } = this.#components
    const { life, self } = this.#init
    const heard = new Map<PeerId, Moment>()
    for (const [peer, { newest }] of this.#members) heard.set(peer, newest)
    const at = Math.floor(clock.monotonic())
    const payload = encodeBeat({ life, at, heard, read: channel.heard })
    try {
      sender.send(channel.channel, [{ suffix: `/${self}/beat`, payload }])
    } catch (error) {
      if (!isSkeinError(error)) throw error
      logger.debug({ err: error }, 'a member of a group could not say that it lives')
    }
  }

  #hear({ messages, publisher }: EphemeralMessages): void {
    for (const { payload, suffix } of messages) {
      if (suffix !== `/${publisher}/beat`) continue
      try {
        this.#take(publisher, decodeBeat(payload))
      } catch (error) {
        if (!isMalformed(error)) throw error
        this.#components.logger.debug({ err: error, peer: publisher }, 'a beat cannot be read')
      }
    }
    this.#init.onBeat()
  }

  #take(peer: PeerId, beat: Beat): void {
    const heardAt = this.#components.clock.monotonic()
    const known = this.#members.get(peer)
    if (known !== undefined && known.life > beat.life) return
    let member = this.#of(peer, beat.life)
    if (member === undefined) {
      member = { life: beat.life, newest: beat, heardAt, answers: [], answeredAt: -Infinity }
      this.#members.set(peer, member)
    }
    if (member.newest.at > beat.at) return
    Object.assign(member, { newest: beat, heardAt })
    const own = beat.heard.get(this.#init.self)
    if (own?.life !== this.#init.life || own.at > heardAt) return
    member.answers.push({ at: own.at, beat })
    if (member.answers.length > MAX_ANSWERS) member.answers.shift()
  }
}
