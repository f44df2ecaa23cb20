/**
 * How the records of a channel travel. `mesh`: gossip and sync. `inbox` (`@<peer>`): only by sync, to its owner and
 * to those who keep it for him. `local`: not at all.
 */
export type ChannelScope = 'mesh' | 'inbox' | 'local'

/** Dead letters of messages to one peer concern their sender alone. */
const LOCAL_CHANNELS: readonly string[] = ['$dlq/outbox']

/** Dead letters of what was sent to this node alone, which it opened: nobody else may read them. */
export const LOCAL_DEAD_LETTERS = '$dlq/@'

export function scopeOf(channel: string): ChannelScope {
  if (channel.startsWith('@')) return 'inbox'
  // Nearly every channel is neither.
  if (!channel.startsWith('$')) return 'mesh'
  const isLocal = channel.startsWith(LOCAL_DEAD_LETTERS) || LOCAL_CHANNELS.includes(channel)
  return isLocal ? 'local' : 'mesh'
}
