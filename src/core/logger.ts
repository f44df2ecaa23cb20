import { pino } from 'pino'

/** The levels a node logs at, most severe first. */
export const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

type LogMethod = (fields: object, message: string) => void

/** Structured logging: facts first, then one sentence. pino's shape, so an application may pass its own. */
export interface Logger {
  readonly error: LogMethod
  readonly warn: LogMethod
  readonly info: LogMethod
  readonly debug: LogMethod
  child(bindings: Record<string, unknown>): Logger
}

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

const nothing = (): void => {}

/** A logger that says nothing. */
export const silentLogger: Logger = {
  error: nothing,
  warn: nothing,
  info: nothing,
  debug: nothing,
  child: () => silentLogger
}
