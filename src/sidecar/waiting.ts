import type { IncomingMessage, ServerResponse } from 'node:http'
import { SkeinError } from '../core/errors.ts'

/** Aborts when the client has gone before `response` was complete. */
export function goneSignal(response: ServerResponse): AbortSignal {
  const gone = new AbortController()
  response.on('close', () => {
    // Most responses are complete: nobody waits for anything then, and an abort costs more than the rest of this.
    if (!response.writableFinished)
      gone.abort(new SkeinError('ERR_ABORTED', 'The client went away.'))
  })
  return gone.signal
}

/**
 * Runs something with a signal that aborts with `signal`, or with ERR_ABORTED when the connection of the request goes.
 * Unlike `goneSignal` it stays when the response ends before the request.
 */
export async function whileConnected<Result>(
  { socket }: IncomingMessage,
  signal: AbortSignal,
  run: (signal: AbortSignal) => Promise<Result>
): Promise<Result> {
  const gone = new AbortController()
  const onClose = (): void => gone.abort(new SkeinError('ERR_ABORTED', 'The client went away.'))
  socket.once('close', onClose)
  try {
    return await run(AbortSignal.any([signal, gone.signal]))
  } finally {
    socket.off('close', onClose)
  }
}

/** Waits until `promise` settles, but not longer than `ms` and not beyond the signal; false when it gave up. */
export function within(
  promise: Promise<unknown>,
  ms: number,
  signal: AbortSignal
): Promise<boolean> {
  return new Promise((resolve) => {
    const finish = (done: boolean) => (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', giveUp)
      resolve(done)
    }
    const giveUp = finish(false)
    const timer = setTimeout(giveUp, ms)
    if (signal.aborted) giveUp()
    else signal.addEventListener('abort', giveUp, { once: true })
    promise.then(finish(true), finish(true))
  })
}
