import type { SlotTable, Tenure } from './slot-table.ts'
import { desiredOwner, ranking } from './slots.ts'

/**
 * `live`: it is a member and up. `silent`: it is a member as far as is known, and has not been met since this node
 * opened the group; its lease may still run. `ended`: it left, or its lease has ended.
 */
export type Standing = 'live' | 'silent' | 'ended'

export interface MemberView {
  /** Its present membership. */
  readonly life: number
  readonly standing: Standing
  /** It cannot take more than it has. */
  readonly full: boolean
}

export interface AssignmentInput {
  readonly self: string
  readonly life: number
  readonly table: SlotTable
  /** This node included, as live. */
  readonly members: ReadonlyMap<string, MemberView>
  /** Are messages of the slot with consumers of this node? */
  readonly isBusy: (slot: number) => boolean
  /** Slots that this node wants to be rid of: an acknowledgement did not come, or it has too much to do. */
  readonly evicted: ReadonlySet<number>
  /** Slots that this node got from others that wanted to be rid of them: they stay for a while. */
  readonly kept: ReadonlySet<number>
  /** May this node take slots whose owner is gone? Not before it has heard of all members, and they of it. */
  readonly mayClaim: boolean
}

export interface Assignment {
  /** To hand over to another member, now: nothing of them is with a consumer. */
  readonly releases: ReadonlyMap<number, Tenure>
  /** To take, for nobody has them. */
  readonly claims: ReadonlyMap<number, Tenure>
  /** Nothing more of them is handed over here, so that they can be released. */
  readonly draining: ReadonlySet<number>
}

/**
 * What a member does about the slots, by what it knows. Only the owner of a slot gives it to another, by name, and only
 * when nothing of it is in flight; a slot without an owner falls to whom it is due. So members that know different
 * things never take a slot from an owner that works.
 */
export function assign(input: AssignmentInput): Assignment {
  const { evicted, kept, life, members, self, table } = input
  const releases = new Map<number, Tenure>()
  const claims = new Map<number, Tenure>()
  const draining = new Set<number>()
  const live = [...members].filter(([, member]) => member.standing === 'live').map(([id]) => id)
  for (const [slot, tenure] of table.entries()) {
    if (tenure?.owner === self && tenure.life === life) {
      const next = successor(slot, input, live)
      if (next === undefined || (kept.has(slot) && !evicted.has(slot))) continue
      draining.add(slot)
      if (!input.isBusy(slot)) releases.set(slot, { epoch: tenure.epoch + 1, ...next })
    } else if (input.mayClaim && !isHeld(tenure, members) && desiredOwner(slot, live) === self) {
      claims.set(slot, { epoch: (tenure?.epoch ?? 0) + 1, owner: self, life })
    }
  }
  return { releases, claims, draining }
}

/** Is the slot with somebody whose lease runs? */
function isHeld(tenure: Tenure | undefined, members: ReadonlyMap<string, MemberView>): boolean {
  if (tenure === undefined) return false
  const owner = members.get(tenure.owner)
  return owner !== undefined && owner.life === tenure.life && owner.standing !== 'ended'
}

/** To whom this node gives a slot of its own; undefined where it stays. */
function successor(
  slot: number,
  { evicted, members, self }: AssignmentInput,
  live: readonly string[]
): Omit<Tenure, 'epoch'> | undefined {
  const owner = evicted.has(slot)
    ? ranking(slot, live).find((member) => member !== self && members.get(member)?.full !== true)
    : desiredOwner(slot, live)
  const member = owner === undefined || owner === self ? undefined : members.get(owner)
  return owner === undefined || member === undefined ? undefined : { owner, life: member.life }
}

/** What is known of a member's life signs. */
export interface Signs {
  /** It says that it is a member. */
  readonly joined: boolean
  /** It is connected or heard of lately. */
  readonly up: boolean
  /** It was up at some time since this node opened the group. */
  readonly met: boolean
  /** Monotonic ms since when nothing has been heard of it, where it was never met. */
  readonly silentSince: number
}

/**
 * How long a member that was never met may be at work unseen, ms. One that was met, and is down, is gone for that long
 * already, or its connection broke and did not come back.
 */
const LEASE_MS = 6_000

export function standingOf({ joined, met, silentSince, up }: Signs, now: number): Standing {
  if (!joined) return 'ended'
  if (up) return 'live'
  return met || now - silentSince >= LEASE_MS ? 'ended' : 'silent'
}
