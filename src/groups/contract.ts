/** One node's part in a group. */
export interface GroupMemberStatus {
  readonly peerId: string
  /** Name of its node, where it is known. */
  readonly node: string | undefined
  /** `silent`: not met since this node started, and perhaps at work. `gone`: it left, or its lease has ended. */
  readonly state: 'live' | 'silent' | 'gone'
  /** Of 256: the share of the messages that it hands over. */
  readonly slots: number
}

/** A work group, as far as this node knows. */
export interface GroupStatus {
  readonly name: string
  readonly filter: string
  /** As it was created. */
  readonly onPartition: 'available' | { readonly majority: number }
  /** By the clock of the node that created it. */
  readonly createdAt: Date
  /** Someone consumes it on this node. */
  readonly open: boolean
  /** Messages of its channels, as far as they are on this node, that are not done. Counts before filtering by topic. */
  readonly lag: number
  /** Those that are at work or may be, and those whose slots nobody has taken over yet. */
  readonly members: readonly GroupMemberStatus[]
}
