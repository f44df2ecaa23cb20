import { type DestinationStream, pino } from 'pino'
import type { LogLevel, Logger } from './logger.ts'

/** What an error is, with its causes; pino knows the field `err` only, and shows nothing of one in another. */
const serializers = { err: pino.stdSerializers.err, error: pino.stdSerializers.err }

/** A pino logger that writes JSON lines to stderr, or to `destination`. Default level: info. */
export function createLogger(
  options: { level?: LogLevel; name?: string } = {},
  destination: DestinationStream = pino.destination({ dest: 2, sync: true })
): Logger {
  return pino(
    {
      level: options.level ?? 'info',
      serializers,
      base: options.name === undefined ? null : { node: options.name }
    },
    destination
  )
}
