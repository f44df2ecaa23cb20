import type { Direction, FaultKind } from './contract.ts'

/** Directed links: from any node of a set in `from` to any node of another set. */
export type LinkSet =
  | { readonly kind: 'all' }
  /** `both`: all that these nodes send or receive. `one-way`: all that they send. */
  | { readonly kind: 'of'; readonly nodes: readonly string[]; readonly direction: Direction }
  /** `both`: between different groups. `one-way`: what the first group sends to the others. */
  | {
      readonly kind: 'between'
      readonly groups: readonly string[][]
      readonly direction: Direction
    }

/** What happens to frames on a link. Several may lie on one link: delays add up, a cut wins. */
export type Impairment =
  | { readonly kind: 'cut' }
  | { readonly kind: 'latency'; readonly latencyMs: number; readonly jitterMs: number }
  | { readonly kind: 'loss' | 'duplicate'; readonly perMillion: number }
  | { readonly kind: 'reorder'; readonly perMillion: number; readonly byMs: number }
  | { readonly kind: 'bandwidth'; readonly bytesPerSecond: number }

/** What the world has to do. Nothing else is asked of it. */
export type Action =
  /** From now until `repair` with the same id; ids are unique in a schedule. */
  | {
      readonly do: 'impair'
      readonly id: number
      readonly links: LinkSet
      readonly with: Impairment
    }
  | { readonly do: 'repair'; readonly id: number }
  /** At once, without a goodbye. `unsynced`: what becomes of writes that were not synced; `torn` = cut in the middle. */
  | { readonly do: 'crash'; readonly node: string; readonly unsynced: 'keep' | 'lose' | 'torn' }
  /** In order, as SIGTERM does. */
  | { readonly do: 'stop' | 'start' | 'pause' | 'resume'; readonly node: string }
  /** Its wall clock is off by so much, instead of what it was off before. */
  | { readonly do: 'skew'; readonly node: string; readonly byMs: number }
  | {
      readonly do: 'disk'
      readonly node: string
      readonly full: boolean
      readonly latencyMs: number
    }
  /** Flips so many random bits in stored records. */
  | { readonly do: 'corrupt'; readonly node: string; readonly bits: number }

/** One moment of the timeline, all names resolved. */
export interface Step {
  readonly atMs: number
  /** Place in `scenario.faults`. */
  readonly fault: number
  readonly kind: FaultKind
  /** `begin` and `end` become `fault` and `heal` events of the trace; `change` is within a fault. */
  readonly edge: 'begin' | 'change' | 'end'
  /** Nodes that it names; for links, those of all groups. */
  readonly nodes: readonly string[]
  /** For people: `partition n1 n2 | n3`. */
  readonly text: string
  readonly actions: readonly Action[]
}
