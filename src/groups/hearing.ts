import { isSkeinError } from '../core/errors.ts'
import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/logger.ts'
import type { PeerId } from '../mesh/contract.ts'
import type { GroupChannel } from './group-channel.ts'
import { encodeHearing } from './group-values.ts'
import { Heard, isAtLeast, type Position } from './heard.ts'

export interface HearingComponents {
  readonly channel: Pick<GroupChannel, 'heard' | 'say' | 'state'>
  readonly clock: Pick<Clock, 'now'>
  readonly logger: Logger
}

export interface HearingInit {
  readonly self: PeerId
  /** May others be told now that what they said is known? */
  readonly mayAnswer: () => boolean
}

/**
 * What members have read of each other. A member says it before it gives away a slot, so that whoever gets it reads as
 * much before it begins; and when it is asked. Its log has all it said before in order: so who has read its answer has
 * read what it did until then, and it has read what was said before the question.
 */
export class Hearing {
  readonly #components: HearingComponents
  readonly #init: HearingInit
  /** The newest question of each member that was answered here. */
  readonly #answered = new Map<PeerId, number>()
  #answering = false
  /** What was read when others were told last. */
  #told = new Heard()

  constructor(components: HearingComponents, init: HearingInit) {
    this.#components = components
    this.#init = init
  }

  /** Some member has read what is not here yet. */
  get isBehind(): boolean {
    const { heard, state } = this.#components.channel
    for (const { positions } of state.hearings.values()) if (!heard.covers(positions)) return true
    return false
  }

  /** Says what is read here. */
  async tell(): Promise<void> {
    await this.#say(this.#own())
  }

  /** Asks all members what they have read; resolves to the place of the question. */
  async ask(): Promise<Position> {
    return this.#say(Math.max(this.#components.clock.now(), this.#own() + 1))
  }

  /** Has the member answered, or read as far for another reason? */
  isHeardBy(peer: PeerId, position: Position): boolean {
    const said = this.#components.channel.state.hearings.get(peer)
    return isAtLeast(said?.positions.get(this.#init.self), position)
  }

  /** Is all here that the member had read? */
  covers(peer: PeerId): boolean {
    const { heard, state } = this.#components.channel
    const said = state.hearings.get(peer)
    return said !== undefined && heard.covers(said.positions)
  }

  /** Answers what was asked since the last time, all of it at once. */
  answer(): void {
    if (this.#answering || !this.#init.mayAnswer() || !this.#isAsked()) return
    this.#answering = true
    this.#answerAll().catch((error: unknown) => {
      if (!isSkeinError(error)) throw error
      this.#components.logger.debug({ err: error }, 'a group cannot be answered: who asked waits')
    })
  }

  async #answerAll(): Promise<void> {
    try {
      while (this.#init.mayAnswer() && this.#isAsked()) {
        for (const [peer, { question }] of this.#components.channel.state.hearings) {
          this.#answered.set(peer, question)
        }
        await this.tell()
      }
    } finally {
      this.#answering = false
    }
  }

  #isAsked(): boolean {
    for (const [peer, { question }] of this.#components.channel.state.hearings) {
      if (peer !== this.#init.self && question > (this.#answered.get(peer) ?? 0)) return true
    }
    return false
  }

  #own(): number {
    return this.#components.channel.state.hearings.get(this.#init.self)?.question ?? 0
  }

  async #say(question: number): Promise<Position> {
    const { channel } = this.#components
    if (this.#init.mayAnswer()) this.#told.merge(channel.heard)
    const said = { positions: this.#told, question }
    const { sequence, session } = await channel.say('heard', encodeHearing(said))
    return { session, sequence }
  }
}
