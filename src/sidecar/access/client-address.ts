import { isIPv6 } from 'node:net'
import { isLoopback } from './access.ts'

/** All of this machine are one: they have no other address. */
export const LOCAL = 'this machine'

/** The first half of an IPv6 address: what one customer of a network has to itself. */
function networkOf(address: string): string {
  const [left = '', right] = address.split('::')
  const groups = left === '' ? [] : left.split(':')
  const zeros = right === undefined ? 0 : 8 - groups.length - right.split(':').length
  const all = [...groups, ...Array.from({ length: zeros }, () => '0'), ...(right?.split(':') ?? [])]
  return `${all
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, '') || '0')
    .join(':')}::/64`
}

/**
 * Who is at the other end, as far as an address tells: an IPv4 address, an IPv6 network of 64 bits, or `LOCAL` for
 * everyone on this machine.
 */
export function clientOf(address: string | undefined): string {
  const bare = (address ?? '').replace(/%.*$/, '').replace(/^::ffff:(?=\d+\.)/i, '')
  if (bare === '' || isLoopback(bare)) return LOCAL
  return isIPv6(bare) ? networkOf(bare) : bare
}
