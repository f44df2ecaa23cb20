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

const nothing = (): void => {}

/** A logger that says nothing. */
export const silentLogger: Logger = {
  error: nothing,
  warn: nothing,
  info: nothing,
  debug: nothing,
  child: () => silentLogger
}
