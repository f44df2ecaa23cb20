import { SkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'

import type { Dissemination } from './dissemination.ts'
import { CHANNELS_PER_LINK } from './link.ts'
import type { Link } from './link.ts'
import { encodeControl, PushDecoder } from './push-codec.ts'
import type { PeerAddresses, PushFrame } from './push-codec.ts'

export interface PushReceiverComponents {
  readonly dissemination: Dissemination
}

export interface PushReceiverInit {
  /** The way back to the sender. */
  readonly link: Link
  readonly onMember: (channel: string, member: boolean) => void
  /** The sender named a channel that it had not named before. */
  readonly onSeen: (channel: string) => void
  readonly onPeers: (peers: readonly PeerAddresses[]) => void
  /** The other side has read everything written before the ping of that time. */
  readonly onPong: (time: number) => void
  /** Bytes whose verdict is not there yet, at every change. */
  readonly onJudging: (bytes: number) => void
}

/** What comes in on one push stream. */
export class PushReceiver {
  readonly #dissemination: Dissemination
  readonly #init: PushReceiverInit
  readonly #decoder = new PushDecoder(LIMITS.pushBytes)
  readonly #names = new Map<number, string>()
  /** What the greeting named, and of that the channels the sender is a member of. */
  readonly #named = new Set<string>()
  readonly #declared = new Set<string>()
  #greeted = false
  #judging = 0

  constructor(components: PushReceiverComponents, init: PushReceiverInit) {
    this.#dissemination = components.dissemination
    this.#init = init
  }

  /** Throws ERR_STREAM on malformed data, after which the stream is of no use. */
  push(chunk: Uint8Array): void {
    for (const frame of this.#decoder.push(chunk)) {
      if (frame.kind === 'frame') this.take(frame)
      else this.#control(frame)
    }
  }

  /** A frame out of the stream. Throws ERR_STREAM where its channel has no name. */
  take(frame: Extract<PushFrame, { kind: 'frame' }>): void {
    const channel = this.#names.get(frame.channel)
    if (channel === undefined) {
      throw new SkeinError('ERR_STREAM', 'a neighbour sent a frame on a channel it did not name')
    }
    const pending = this.#dissemination.receive(this.#init.link, { ...frame, channel })
    if (pending === undefined) return
    const { length } = frame.bytes
    this.#judging += length
    this.#init.onJudging(this.#judging)
    void pending.then(() => {
      this.#judging -= length
      this.#init.onJudging(this.#judging)
    })
  }

  #control(frame: Exclude<PushFrame, { kind: 'frame' }>): void {
    const { link } = this.#init
    switch (frame.kind) {
      case 'channel':
        this.#channel(frame.index, frame.channel, frame.member)
        break
      case 'prune':
        link.prune(frame.channel, frame.via)
        break
      case 'unprune':
        link.unprune(frame.channel === '' ? undefined : frame.channel)
        break
      case 'ping':
        link.sendControl(encodeControl.pong(frame.time))
        this.#endGreeting()
        break
      case 'pong':
        this.#init.onPong(frame.time)
        break
      case 'peers':
        this.#init.onPeers(frame.peers)
        break
    }
  }

  #channel(index: number, channel: string, member: boolean): void {
    if (index >= CHANNELS_PER_LINK || channel.length > LIMITS.topicBytes) {
      throw new SkeinError('ERR_STREAM', 'a neighbour named a channel out of bounds')
    }
    this.#names.set(index, channel)
    const { link } = this.#init
    this.#see(channel)
    this.#setMember(channel, member)
    if (this.#greeted) return
    if (link.advertised.has(channel)) this.#named.add(channel)
    if (link.channels.has(channel)) this.#declared.add(channel)
  }

  /** The first ping ends the greeting: what a former stream said and this one did not repeat is over. */
  #endGreeting(): void {
    if (this.#greeted) return
    this.#greeted = true
    const { advertised, channels } = this.#init.link
    for (const channel of channels) {
      if (!this.#declared.has(channel)) this.#setMember(channel, false)
    }
    for (const channel of advertised) if (!this.#named.has(channel)) advertised.delete(channel)
    this.#declared.clear()
    this.#named.clear()
  }

  /** At the bound further names are passed over, so that nobody makes this node remember names without end. */
  #see(channel: string): void {
    const { advertised } = this.#init.link
    if (advertised.has(channel) || advertised.size >= CHANNELS_PER_LINK) return
    advertised.add(channel)
    this.#init.onSeen(channel)
  }

  #setMember(channel: string, member: boolean): void {
    const { channels } = this.#init.link
    if (channels.has(channel) === member) return
    if (member && channels.size >= CHANNELS_PER_LINK) return
    if (member) channels.add(channel)
    else channels.delete(channel)
    this.#init.onMember(channel, member)
  }
}
