import { ERRORS } from '../../core/errors.ts'
import type { ErrorCode } from '../../core/errors.ts'
import type { RouteAccess } from '../route-config.ts'
import type { Route } from './route.ts'

/** What any route may answer with. */
const ANY: readonly ErrorCode[] = ['ERR_OPTIONS', 'ERR_STOPPED', 'ERR_INTERNAL']
/** What the checks of who calls may answer with. */
const GUARDS: Readonly<Record<RouteAccess, readonly ErrorCode[]>> = {
  anyone: [],
  page: ['ERR_HOST', 'ERR_ORIGIN'],
  token: ['ERR_TOKEN', 'ERR_HOST', 'ERR_ORIGIN', 'ERR_BUSY']
}
const OF_BODY: readonly ErrorCode[] = ['ERR_CONTENT_TYPE', 'ERR_PAYLOAD_TOO_LARGE', 'ERR_ABORTED']
/** A body that does not come is its client's fault. */
const LATE = 408
const OF_MESSAGE: readonly ErrorCode[] = [...OF_BODY, 'ERR_HEADERS_TOO_LARGE']

/** What a publish may answer with, beside what any route with a message may. */
export const PUBLISH_ERRORS: readonly ErrorCode[] = [
  'ERR_TOPIC',
  'ERR_BUSY',
  'ERR_CHANNEL_FULL',
  'ERR_STORE_FULL',
  'ERR_STORE_WRITE',
  'ERR_STORE_FAILED'
]

/** The codes that a route may answer with, by status. */
export function errorsOf(route: Route): ReadonlyMap<number, readonly ErrorCode[]> {
  const { access = 'token', body, errors = [] } = route
  const all = new Set<ErrorCode>([
    ...ANY,
    ...GUARDS[access],
    ...(body?.kind === 'json' ? OF_BODY : []),
    ...(body?.kind === 'message' ? OF_MESSAGE : []),
    ...errors
  ])
  const byStatus = new Map<number, ErrorCode[]>()
  for (const code of all) {
    const { status } = ERRORS[code]
    byStatus.set(status, [...(byStatus.get(status) ?? []), code])
  }
  if (body !== undefined) byStatus.set(LATE, ['ERR_TIMEOUT'])
  return new Map([...byStatus].toSorted(([a], [b]) => a - b))
}
