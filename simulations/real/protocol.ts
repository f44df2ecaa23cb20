import type { ErrorObject } from '../../src/core/errors.ts'
import type { Gap, Message, SubscribeOptions } from '../../src/delivery/contract.ts'
import type { PublishOptions, Published, SendOptions } from '../../src/node/contract.ts'
import type { NodeOptions } from '../../src/node/options.ts'

/** A message as it was handed over in a node's process. */
export interface HandedMessage extends Omit<Message, 'json' | 'text' | 'ack' | 'nack'> {
  /** Names this hand-over until it is answered. */
  readonly hand: number
}

/** What a node's process is like at this moment. */
export interface Sample {
  readonly memoryBytes: number
  /** PeerIds. */
  readonly connected: readonly string[]
  /** Of its own logs that retention has taken something from. */
  readonly floors: readonly LogFloor[]
  /** Ids of what waits for its recipients. */
  readonly outbox: readonly string[]
}

interface LogFloor {
  readonly publisher: string
  readonly session: string
  readonly channel: string
  readonly floor: number
}

interface Call<Params, Answer> {
  readonly params: Params
  readonly answer: Answer
}

/** What a node's process is asked for. */
export interface Calls {
  start: Call<NodeOptions, { readonly peer: string; readonly outbox: readonly string[] }>
  publish: Call<
    {
      readonly topic: string
      readonly payload: Uint8Array
      readonly options: Omit<PublishOptions, 'signal'>
    },
    Published
  >
  send: Call<
    {
      readonly peer: string
      readonly topic: string
      readonly payload: Uint8Array
      readonly options: Omit<SendOptions, 'signal'>
    },
    { readonly id: string }
  >
  /** Answered when the receipt of a message that was sent in this life is here. */
  delivered: Call<{ readonly id: string }, void>
  /** Answered when it is open. */
  subscribe: Call<
    {
      readonly subscription: number
      readonly filter: string
      readonly options: Pick<
        SubscribeOptions,
        'durable' | 'group' | 'from' | 'onGap' | 'onPartition' | 'maxDeliveries'
      >
    },
    void
  >
  /** The next message; undefined when it has ended. */
  next: Call<{ readonly subscription: number }, HandedMessage | undefined>
  ack: Call<{ readonly hand: number }, void>
  nack: Call<{ readonly hand: number; readonly delayMs: number }, void>
  close: Call<{ readonly subscription: number }, void>
  /** Answered at once. */
  ping: Call<Record<string, never>, void>
  sample: Call<Record<string, never>, Sample>
  /** Answered when everything is written and closed; then the process ends. */
  stop: Call<Record<string, never>, void>
}

export type Operation = keyof Calls

export type Request = {
  [Op in Operation]: { readonly id: number; readonly op: Op; readonly params: Calls[Op]['params'] }
}[Operation]

/** What a node's process says by itself. */
export type Notice =
  | { readonly say: 'alive' }
  | { readonly say: 'gap'; readonly subscription: number; readonly gap: Gap }
  | { readonly say: 'connected'; readonly peers: readonly string[] }
  /** Its time to live has passed without a receipt. */
  | { readonly say: 'expired'; readonly id: string }
  /** The node ended by itself, and its process ends. */
  | { readonly say: 'failed'; readonly text: string }

export type Reply =
  | Notice
  | { readonly say: 'answer'; readonly id: number; readonly answer: unknown }
  | { readonly say: 'refused'; readonly id: number; readonly error: ErrorObject }
