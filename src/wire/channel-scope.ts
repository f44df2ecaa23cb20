/**
 * How the records of a channel travel. `mesh`: gossip and sync. `inbox` (`@<peer>`): only by sync, to its owner and
 * to those who keep it for him. `local`: not at all.
 */
export type ChannelScope = 'mesh' | 'inbox' | 'local'

/** Dead letters of messages to one peer concern their sender alone. */
const LOCAL_CHANNELS: readonly string[] = ['$dlq/outbox']

export function scopeOf(channel: string): ChannelScope {
  if (channel.startsWith('@')) return 'inbox'
  return LOCAL_CHANNELS.includes(channel) ? 'local' : 'mesh'
}
