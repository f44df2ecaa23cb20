import type { Readable } from 'node:stream'
import { KIB, LIMITS, MIB } from '../core/limits.ts'

/** One request carries at most so many bytes: small enough that a slow node answers soon. */
const BATCH_BYTES = 512 * KIB
/** Read ahead while a batch is on its way. */
const AHEAD_BYTES = 4 * MIB
const LINE_FEED = 0x0a

/** End of the last whole line within `bytes`, exclusive; at most `maxLines` of them. */
function wholeLines(bytes: Buffer, maxLines: number): { end: number; lines: number } {
  let end = 0
  let lines = 0
  while (lines < maxLines) {
    const next = bytes.indexOf(LINE_FEED, end)
    if (next === -1 || next >= BATCH_BYTES) break
    end = next + 1
    lines++
  }
  return { end, lines }
}

export interface LineBatch {
  /** Whole lines with their line feeds; only the last line of the input may lack it. */
  readonly bytes: Buffer
  readonly lines: number
}

/**
 * Whatever lines have come in, as soon as they are there: a slow source is passed on line by line, a fast one in
 * large batches. Reads ahead a bounded amount. Ends with the input, after `maxLines`, or when the signal aborts.
 */
export async function* lineBatches(
  input: Readable,
  options: { maxLines?: number | undefined; signal: AbortSignal }
): AsyncGenerator<LineBatch> {
  const { signal } = options
  let left = options.maxLines ?? Number.POSITIVE_INFINITY
  let pending = Buffer.alloc(0)
  let arrived: Buffer[] = []
  let arrivedBytes = 0
  let ended = false
  let failure: Error | undefined
  let wake: (() => void) | undefined
  const onData = (chunk: Buffer): void => {
    arrived.push(chunk)
    arrivedBytes += chunk.length
    if (arrivedBytes > AHEAD_BYTES) input.pause()
    wake?.()
  }
  const onEnd = (): void => {
    ended = true
    wake?.()
  }
  const onError = (error: Error): void => {
    failure = error
    onEnd()
  }
  input.on('data', onData).on('end', onEnd).on('error', onError)
  signal.addEventListener('abort', onEnd, { once: true })
  try {
    while (left > 0 && !signal.aborted) {
      const { end, lines } = wholeLines(pending, left)
      if (lines > 0) {
        const bytes = pending.subarray(0, end)
        pending = pending.subarray(end)
        left -= lines
        yield { bytes, lines }
      } else if (pending.length > LIMITS.payloadBytes || (ended && arrived.length === 0)) {
        // Too long for a message: the node refuses it with the right error. Or the last line.
        if (pending.length > 0) yield { bytes: pending, lines: 1 }
        if (failure !== undefined) throw failure
        return
      } else if (arrived.length > 0) {
        pending = Buffer.concat([pending, ...arrived])
        arrived = []
        arrivedBytes = 0
        input.resume()
      } else {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    }
  } finally {
    input.off('data', onData).off('end', onEnd).off('error', onError)
    signal.removeEventListener('abort', onEnd)
    input.pause()
  }
}
