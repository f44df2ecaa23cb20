/** A hybrid logical time: 48 bits of milliseconds, 16 bits of counter. */
export interface HybridTime {
  readonly ms: number
  readonly counter: number
}
