import type { Clock } from '../core/clock.ts'
import type { Events } from '../core/events.ts'
import type { Logger } from '../core/logger.ts'
import type { NodeEvents } from './contract.ts'

/** The same host with the same fault dials again and again; it is named this often, ms. */
const AGAIN_MS = 600_000
/** Hosts remembered; with more, some are named more often. */
const HOSTS = 1024

/** Logs who was refused and why, so that a wrong network key shows on both sides without a debug log. */
export function logRefusals(
  events: Events<NodeEvents>,
  { clock, logger }: { clock: Clock; logger: Logger }
): void {
  const named = new Map<string, number>()
  events.on('peer:refused', ({ peer, address, code, reason }) => {
    const key = `${code} ${peer ?? hostOf(address)}`
    const last = named.get(key)
    const now = clock.monotonic()
    if (last !== undefined && now - last < AGAIN_MS) return
    if (named.size >= HOSTS) named.clear()
    named.set(key, now)
    logger.warn({ code, peer, address }, `a peer was refused: ${reason}`)
  })
}

/** `/ip4/<host>` of a multiaddr: inbound ports differ from one connection to the next. */
function hostOf(address: string): string {
  return address.split('/').slice(0, 3).join('/')
}
