import type { Stream } from '@libp2p/interface'
import type { Uint8ArrayList } from 'uint8arraylist'

import { SkeinError } from '../core/errors.ts'

/** Bytes read ahead of the consumer before the stream is paused; with the 4 MiB window, the most a stream holds. */
const READ_AHEAD = 1024 * 1024

function broken(cause?: unknown): SkeinError {
  return new SkeinError('ERR_STREAM', 'the stream broke before the other side closed it', { cause })
}

/**
 * What comes in on a stream, chunk by chunk. Pauses the stream while the consumer is behind. Ends when the other
 * side closed its half, and throws ERR_STREAM when the stream went away before that.
 */
export function streamSource(stream: Stream): AsyncGenerator<Uint8Array | Uint8ArrayList> {
  const chunks: Array<Uint8Array | Uint8ArrayList> = []
  let waiting = 0
  let closed = stream.remoteWriteStatus === 'closed' && stream.status !== 'reset'
  let ended = stream.readableEnded
  let cause: unknown
  let wake: (() => void) | undefined

  const onMessage = (event: { data: Uint8Array | Uint8ArrayList }): void => {
    chunks.push(event.data)
    waiting += event.data.byteLength
    if (waiting > READ_AHEAD && stream.readStatus === 'readable') stream.pause()
    wake?.()
  }
  const onRemoteClose = (): void => {
    closed = true
  }
  const onEnd = (): void => {
    ended = true
    wake?.()
  }
  const onClose = (event: { error?: Error }): void => {
    cause = event.error
    ended = stream.readBufferLength === 0
    wake?.()
  }
  stream.addEventListener('message', onMessage)
  stream.addEventListener('remoteCloseWrite', onRemoteClose)
  stream.addEventListener('end', onEnd)
  stream.addEventListener('close', onClose)

  async function* read(): AsyncGenerator<Uint8Array | Uint8ArrayList> {
    for (;;) {
      const chunk = chunks.shift()
      if (chunk !== undefined) {
        waiting -= chunk.byteLength
        yield chunk
        if (waiting <= READ_AHEAD / 2 && stream.readStatus === 'paused') stream.resume()
        continue
      }
      if (ended) break
      await new Promise<void>((resolve) => (wake = resolve))
      wake = undefined
    }
    if (!closed || stream.status === 'aborted' || stream.status === 'reset') throw broken(cause)
  }
  return read()
}
