/** One message as the parties of a test know it. */
export interface MessageRef {
  /** `<publisher>/<session>/<sequence>/<channel>` */
  readonly id: string
  readonly publisher: string
  readonly session: string
  readonly sequence: number
  readonly channel: string
}

/** What happened, as it was seen from outside; in the order in which it happened. */
export type TraceEvent =
  /** A subscription was registered (durable) or opened (ephemeral). */
  | {
      readonly kind: 'subscribed'
      readonly subscription: string
      readonly filter: string
      readonly durable: boolean
    }
  /** A publish was confirmed as stored. */
  | { readonly kind: 'confirmed'; readonly message: MessageRef; readonly topic: string }
  /** A message was handed to a subscription. */
  | {
      readonly kind: 'handed'
      readonly subscription: string
      readonly message: MessageRef
      /** 1 at the first hand-over; one that nobody saw, because its consumer was killed, counts. */
      readonly attempt: number
      readonly late: boolean
    }
  /** An acknowledgement was answered: it is written. */
  | { readonly kind: 'acknowledged'; readonly subscription: string; readonly id: string }
  /** A subscription was told that it went on without a range. */
  | {
      readonly kind: 'gap'
      readonly subscription: string
      readonly publisher: string
      readonly session: string
      readonly channel: string
      readonly from: number
      readonly to: number
    }

export type Trace = readonly TraceEvent[]

/** Something that must not have happened. */
export interface Violation {
  readonly checker: string
  readonly subscription: string
  /** One sentence for people. */
  readonly what: string
  readonly id: string
}

/** A pure function over a trace; an empty answer means that its rule held. */
export type Checker = (trace: Trace) => Violation[]
