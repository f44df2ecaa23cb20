import { z } from 'zod'
import { LIMITS } from '../core/limits.ts'

const row = z.object({
  name: z.string().max(LIMITS.nameBytes).optional(),
  lastSeen: z.number().nonnegative(),
  custodian: z.boolean(),
  subscriptions: z
    .array(z.object({ name: z.string(), lag: z.number().int().nonnegative() }))
    .max(LIMITS.presenceSubscriptions)
})

/** What is remembered of a peer while it is off. `lastSeen`: wall clock, ms. */
export type PeerRow = z.output<typeof row>

/** The subscriptions of a peer that are remembered: those that lag most. */
const SUBSCRIPTIONS = 64

export function encodePeerRow(peer: PeerRow): Uint8Array {
  return Buffer.from(
    JSON.stringify({ ...peer, subscriptions: peer.subscriptions.slice(0, SUBSCRIPTIONS) })
  )
}

/** undefined where the row is not one of this version. */
export function decodePeerRow(bytes: Uint8Array): PeerRow | undefined {
  let value: unknown
  try {
    value = JSON.parse(Buffer.from(bytes).toString('utf8'))
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
  const result = row.safeParse(value)
  return result.success ? result.data : undefined
}
