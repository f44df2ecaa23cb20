import type { PeerDirectory } from '../replication/peer-directory.ts'
import type { LogState, Store } from '../store/contract.ts'
import type { MemberView, Standing } from './assignment.ts'
import type { GroupMemberStatus, GroupStatus } from './contract.ts'
import type { GroupState } from './group-state.ts'
import { logKey } from './group-values.ts'
import type { SlotKeeper } from './slot-keeper.ts'

export interface GroupStatusComponents {
  readonly store: Pick<Store, 'logs'>
  readonly directory: Pick<PeerDirectory, 'get'>
}

export interface GroupStatusInit {
  readonly name: string
  readonly state: GroupState
  /** The channels of its filter. */
  readonly channels: readonly string[]
  /** Where the group is consumed on this node. */
  readonly keeper: Pick<SlotKeeper, 'members'> | undefined
}

const STATES: Readonly<Record<Standing, GroupMemberStatus['state']>> = {
  live: 'live',
  silent: 'silent',
  ended: 'gone'
}

/** What can be said of a group from what this node holds. */
export function statusOf(
  { directory, store }: GroupStatusComponents,
  { channels, keeper, name, state }: GroupStatusInit
): GroupStatus {
  const views = keeper?.members()
  const majority = state.definition?.majority ?? 0
  return {
    name,
    filter: state.definition?.filter ?? '',
    onPartition: majority === 0 ? 'available' : { majority },
    createdAt: new Date(state.definition?.createdAt ?? 0),
    open: keeper !== undefined,
    lag: lagOf(
      channels.flatMap((channel) => store.logs(channel)),
      state
    ),
    members: membersOf(state, views, directory)
  }
}

function membersOf(
  state: GroupState,
  views: ReadonlyMap<string, MemberView> | undefined,
  directory: GroupStatusComponents['directory']
): GroupMemberStatus[] {
  const slots = slotsOf(state)
  const members: GroupMemberStatus[] = []
  for (const [peerId, { joined }] of state.members) {
    const peer = directory.get(peerId)
    const isUp = joined && (peer?.state === 'up' || peer?.state === 'suspect')
    const standing = views?.get(peerId)?.standing ?? (isUp ? 'live' : 'ended')
    const own = slots.get(peerId) ?? 0
    if (standing === 'ended' && own === 0) continue
    members.push({ peerId, node: peer?.name, state: STATES[standing], slots: own })
  }
  return members.toSorted((a, b) => (a.peerId < b.peerId ? -1 : 1))
}

/** How many slots each member has, as long as its membership stands. */
function slotsOf(state: GroupState): Map<string, number> {
  const slots = new Map<string, number>()
  for (const [, tenure] of state.slots.entries()) {
    if (tenure === undefined || state.members.get(tenure.owner)?.life !== tenure.life) continue
    slots.set(tenure.owner, (slots.get(tenure.owner) ?? 0) + 1)
  }
  return slots
}

/** Messages of these logs that are not done. */
function lagOf(logs: readonly LogState[], state: GroupState): number {
  let lag = 0
  for (const log of logs) {
    const key = logKey(log)
    const from = Math.max(log.floor, (state.definition?.base.get(key) ?? 0) + 1)
    if (from > log.head) continue
    lag += log.head - from + 1 - (state.done(key)?.countWithin(from, log.head) ?? 0)
  }
  return lag
}
