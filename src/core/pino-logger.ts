import { pino } from 'pino'
import type { LogLevel, Logger } from './logger.ts'

/** A pino logger that writes JSON lines to stderr. Default level: info. */
export function createLogger(options: { level?: LogLevel; name?: string } = {}): Logger {
  return pino(
    {
      level: options.level ?? 'info',
      base: options.name === undefined ? null : { node: options.name }
    },
    pino.destination({ dest: 2, sync: true })
  )
}
