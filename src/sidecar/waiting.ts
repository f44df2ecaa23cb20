import type { ServerResponse } from 'node:http'

/** Aborts when the client has gone before `response` was complete. */
export function goneSignal(response: ServerResponse): AbortSignal {
  const gone = new AbortController()
  response.on('close', () => gone.abort())
  return gone.signal
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
