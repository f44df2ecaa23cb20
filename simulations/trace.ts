import type { FaultKind } from './scenario/contract.ts'

/** One message as the parties of a test know it. */
export interface MessageRef {
  /** `<publisher>/<session>/<sequence>/<channel>` */
  readonly id: string
  readonly publisher: string
  readonly session: string
  readonly sequence: number
  readonly channel: string
}

/** Sequences of one log, both ends included. */
export interface LogRange {
  readonly publisher: string
  readonly session: string
  readonly channel: string
  readonly from: number
  readonly to: number
}

interface Timed {
  /** ms since the start of the run. Checkers of time and the report need it; the others do without. */
  readonly at?: number
}

/** What happened, as it was seen from outside; in the order in which it happened. */
export type TraceEvent =
  /** A subscription was registered (durable) or opened (ephemeral). */
  | (Timed & {
      readonly kind: 'subscribed'
      /** Unique in the trace: one durable cursor, one group member, or one life of an ephemeral one. */
      readonly subscription: string
      readonly filter: string
      readonly durable: boolean
      /** Name of its node. Needed to know which crash explains a repetition, and for the report. */
      readonly node?: string
      /** Subscriptions of one group share what matches. */
      readonly group?: string
      /** What `expect.delivered` calls it. */
      readonly label?: string
      /** It reads slowly or stops on purpose: it need not converge. */
      readonly slow?: boolean
      /** It never goes on without what is missing: nothing may be skipped for it. */
      readonly waits?: boolean
      /** So long its node keeps messages, ms: before, none may be told to be trimmed that nobody trimmed. */
      readonly keepsMs?: number
    })
  /** It exists no more (durable: deleted; ephemeral: closed). Nothing published later is owed to it. */
  | (Timed & { readonly kind: 'unsubscribed'; readonly subscription: string })
  /** A publish was confirmed as stored. */
  | (Timed & {
      readonly kind: 'confirmed'
      readonly message: MessageRef
      readonly topic: string
      /** What it says, as a checksum of topic and payload. */
      readonly content?: number
    })
  /** A publish was rejected: never confirmed. */
  | (Timed & { readonly kind: 'rejected'; readonly node: string; readonly code: string })
  /** A message was handed to a subscription. */
  | (Timed & {
      readonly kind: 'handed'
      readonly subscription: string
      readonly message: MessageRef
      /** 1 at the first hand-over; one that nobody saw, because its consumer was killed, counts. */
      readonly attempt: number
      readonly late: boolean
      /** Of a message that a member of a group was handed. */
      readonly key?: string
      /** In a group with a majority. */
      readonly fence?: { readonly slot: number; readonly token: number }
      /** As in `confirmed`. */
      readonly content?: number
    })
  /** Its node went down while the application was at work at a message: it is owed again. */
  | (Timed & { readonly kind: 'unfinished'; readonly subscription: string; readonly id: string })
  /** A member of a group had no answer to its acknowledgement: it may count, and may not. */
  | (Timed & { readonly kind: 'unanswered'; readonly subscription: string; readonly id: string })
  /** An acknowledgement was answered: it is written. */
  | (Timed & {
      readonly kind: 'acknowledged'
      readonly subscription: string
      readonly id: string
    })
  /** A subscription was told that it went on without a range. */
  | (Timed &
      LogRange & {
        readonly kind: 'gap'
        readonly subscription: string
        /** As it was told; see `Gap` of the product. */
        readonly reason?: string
      })
  /** Messages that nobody is owed any more: their time to live or retention passed, or newer ones replaced them. */
  | (Timed &
      LogRange & {
        readonly kind: 'excused'
        readonly reason: 'expired' | 'trimmed' | 'compacted' | 'dead-lettered'
      })
  /** An inbox message was stored by its sender. `to` is the name of the recipient's node. */
  | (Timed & {
      readonly kind: 'sent'
      readonly id: string
      readonly from: string
      readonly to: string
      readonly topic: string
    })
  /** The recipient's application got it. */
  | (Timed & { readonly kind: 'received'; readonly id: string; readonly node: string })
  /** The sender has the recipient's receipt (`delivered` resolved). */
  | (Timed & { readonly kind: 'receipt'; readonly id: string })
  /** The sender was told that the outcome is unknown: the time to live passed without a receipt. */
  | (Timed & { readonly kind: 'unreceived'; readonly id: string })
  /** A fault began; `id` is its place in the timeline. */
  | (Timed & {
      readonly kind: 'fault'
      readonly id: number
      readonly fault: FaultKind
      readonly nodes: readonly string[]
      /** For people. */
      readonly text: string
    })
  /** That fault was lifted, in whole. */
  | (Timed & {
      readonly kind: 'heal'
      readonly id: number
      readonly fault: FaultKind
      readonly nodes: readonly string[]
      readonly text: string
    })
  /** A node began its life; with `ready` it is open for work. */
  | (Timed & { readonly kind: 'started'; readonly node: string })
  /** A node's life ended. */
  | (Timed & {
      readonly kind: 'stopped'
      readonly node: string
      /** `stop` in order, `crash` without a goodbye, `power-loss` with the loss of what was not synced. */
      readonly how: 'stop' | 'crash' | 'power-loss'
    })
  /** Memory of one node, as a sample: heap and buffers of its own, estimated in the virtual tier. */
  | (Timed & { readonly kind: 'memory'; readonly node: string; readonly bytes: number })
  /** Which nodes hold a connection, by name, as a sample; each pair once. */
  | (Timed & {
      readonly kind: 'topology'
      readonly links: ReadonlyArray<readonly [string, string]>
    })

export type Trace = readonly TraceEvent[]

/** Something that must not have happened. */
export interface Violation {
  readonly checker: string
  /** The subscription, or the node that it concerns. */
  readonly subscription: string
  /** One sentence for people. */
  readonly what: string
  /** The message; empty where it is about none. */
  readonly id: string
}

/** A pure function over a trace; an empty answer means that its rule held. */
export type Checker = (trace: Trace) => Violation[]
