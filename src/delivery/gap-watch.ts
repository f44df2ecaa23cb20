import type { Clock } from '../core/clock.ts'
import type { Gaps, Hole } from '../replication/gaps.ts'
import type { ChannelLane } from './channel-lane.ts'
import type { Gap } from './contract.ts'

export interface GapWatchComponents {
  readonly gaps: Gaps
  readonly clock: Clock
  readonly lanes: ReadonlyMap<string, ChannelLane>
}

export interface GapWatchInit {
  readonly gapTimeoutMs: number
  readonly onGap: 'wait' | 'skip'
  /** A durable one goes on without a gap that lasted too long, where it may. */
  readonly giveUp: (hole: Hole) => void
  readonly stalled: (gap: Gap) => void
  readonly skipped: (gap: Gap) => void
}

/** What is missing in the channels of one subscription, and for how long. */
export class GapWatch {
  readonly #components: GapWatchComponents
  readonly #init: GapWatchInit
  /** Holes that were reported, by log and place. */
  readonly #reported = new Set<string>()

  constructor(components: GapWatchComponents, init: GapWatchInit) {
    this.#components = components
    this.#init = init
  }

  /** What it waits for now. */
  missing(): Gap[] {
    return this.#holes().map((hole) => gapOf(hole, 'missing'))
  }

  /** Tells of what has been missing for too long. */
  tick(): void {
    const now = this.#components.clock.monotonic()
    const holes = this.#holes()
    if (holes.length === 0) {
      this.#reported.clear()
      return
    }
    for (const hole of holes) {
      const key = `${hole.publisher}/${hole.session}/${hole.from}-${hole.to}/${hole.channel}`
      if (now - hole.since < this.#init.gapTimeoutMs || this.#reported.has(key)) continue
      const side = this.#components.lanes.get(hole.channel)?.side
      if (side === undefined) {
        this.#reported.add(key)
        this.#init.stalled(gapOf(hole, 'missing'))
        if (this.#init.onGap === 'skip') this.#init.giveUp(hole)
      } else {
        this.#init.skipped(gapOf(hole, 'skipped'))
        side.skip(hole)
      }
    }
  }

  #holes(): Hole[] {
    const holes: Hole[] = []
    for (const lane of this.#components.lanes.values()) {
      for (const hole of this.#components.gaps.in(lane.channel)) {
        if (lane.side?.hasSkipped(hole) !== true) holes.push(hole)
      }
    }
    return holes
  }
}

function gapOf({ channel, publisher, session, from, to }: Hole, reason: Gap['reason']): Gap {
  return { channel, publisher, session, from, to, reason }
}
