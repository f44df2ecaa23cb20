import type { Store } from '../store/contract.ts'
import type { Row } from './metrics.ts'

/** Channels with figures of their own, those that hold most first: each label value is a series for ever. */
const CHANNELS = 50
/** The rest. No topic of an application begins with a dollar sign. */
const OTHERS = '$other'

/** What the largest channels of applications hold. */
export function channelGauges(store: Pick<Store, 'channels' | 'journal' | 'logs'>): Row[] {
  const bytesOf = (channel: string): number =>
    store.logs(channel).reduce((sum, log) => sum + log.bytes, 0)
  const messagesOf = (channel: string): number => {
    const { first, next } = store.journal(channel)
    return next - first
  }
  const read = (figure: (channel: string) => number) => () => {
    const sizes = store
      .channels()
      .filter((channel) => !/^[$@]/.test(channel))
      .map((channel) => [channel, bytesOf(channel)] as const)
    const largest = sizes.toSorted(([, a], [, b]) => b - a)
    return function* (): Generator<readonly [Record<string, string>, number]> {
      let others = 0
      for (const [index, [channel]] of largest.entries()) {
        if (index < CHANNELS) yield [{ channel }, figure(channel)]
        else others += figure(channel)
      }
      if (largest.length > CHANNELS) yield [{ channel: OTHERS }, others]
    }
  }
  return [
    [
      'skein_channel_messages',
      'Messages held, by channel: the 50 that hold most bytes, and `$other`.',
      read(messagesOf),
      ['channel']
    ],
    ['skein_channel_bytes', 'Bytes of the records held, by channel.', read(bytesOf), ['channel']]
  ]
}
