/** Counters of all subscriptions since start. */
export interface DeliveryStats {
  delivered: number
  redelivered: number
  expired: number
  acknowledged: number
  /** Not handed over, because a message with the same idempotency id was. */
  duplicates: number
  /** Times that a consumer was seen to be behind what is kept in memory. */
  slow: number
  /** Messages that used up their hand-overs. */
  deadLetters: number
}
