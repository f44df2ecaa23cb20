/**
 * What can be started and stopped. A constructor opens nothing. `start` resolves when the thing works and
 * leaves nothing open when it rejects; `stop` is idempotent, safe after a failed start, and resolves when
 * everything it opened is closed.
 */
export interface Lifecycle {
  start(): Promise<void>
  stop(): Promise<void>
}
