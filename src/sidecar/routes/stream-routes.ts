import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { ByteStream, IncomingStream, SkeinNode, StreamMetadata } from '../../node/contract.ts'
import type { Api } from '../api/api.ts'
import { type Reader, header, optional, text } from '../api/parameters.ts'
import { bytesBody, plain, route } from '../api/route.ts'
import { headerBytes, headerText } from '../message-headers.ts'
import { optionError } from '../query.ts'
import { type Exchange, copyStream } from './stream-copy.ts'
import { whileConnected } from '../waiting.ts'

export interface StreamRoutesComponents {
  readonly node: Pick<SkeinNode, 'openStream' | 'handleStream'>
  readonly signal: AbortSignal
}

/** Clients that wait for streams of one name, the longest first. */
class Takers {
  readonly #waiting: ((stream: IncomingStream) => Promise<void>)[] = []
  #release: (() => void) | undefined

  /**
   * Resolves when a stream was taken and has ended. Throws ERR_OPTIONS where others handle the name; rejects with the
   * signal's reason where none came before.
   */
  async take(
    handle: (take: (stream: IncomingStream) => Promise<void>) => () => void,
    run: (stream: IncomingStream) => Promise<void>,
    signal: AbortSignal
  ): Promise<void> {
    this.#release ??= handle((stream) => this.#next(stream))
    await new Promise<void>((resolve, reject) => {
      const taker = (stream: IncomingStream): Promise<void> => {
        signal.removeEventListener('abort', leave)
        const done = run(stream)
        done.then(resolve, reject)
        return done
      }
      const leave = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(taker), 1)
        this.#rest()
        reject(signal.reason as Error)
      }
      this.#waiting.push(taker)
      if (signal.aborted) leave()
      else signal.addEventListener('abort', leave, { once: true })
    })
  }

  async #next(stream: IncomingStream): Promise<void> {
    const taker = this.#waiting.shift()
    this.#rest()
    await taker?.(stream)
  }

  /** With nobody left, whoever opens one is told at once that nobody takes it. */
  #rest(): void {
    if (this.#waiting.length > 0) return
    this.#release?.()
    this.#release = undefined
  }
}

/** What the opener of a stream tells the other side. */
const metadata: Reader<StreamMetadata> = {
  schema: z.string(),
  read: (text, name) => {
    try {
      const value: unknown = JSON.parse(headerText(text))
      if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
        return value as StreamMetadata
      }
    } catch (error) {
      throw optionError(name, `it is not JSON: ${(error as Error).message}.`)
    }
    throw optionError(name, 'it is not a JSON object.')
  }
}

const shared = {
  path: '/v1/streams/{name}',
  tag: 'Byte streams',
  body: bytesBody('What the other side reads.'),
  answers: {
    200: plain(
      'application/octet-stream',
      'What the other side writes. A break cuts the connection.',
      {
        'Skein-Peer': 'PeerId of the other side.',
        'Skein-Metadata': 'What the opener told, as JSON.'
      }
    )
  },
  config: { isDuplex: true, stream: 'bytes' }
} as const

const openStream = route({
  ...shared,
  method: 'POST',
  operation: 'openStream',
  summary: 'Opens a byte stream: the body goes to the other side, the answer comes from there.',
  query: {
    peer: optional(
      text,
      'Name or PeerId of a node. Without: any connected node that takes the name.'
    )
  },
  headers: {
    metadata: header(
      'Skein-Metadata',
      optional(metadata, 'A JSON object for the other side, 4 KiB at most.', {})
    )
  },
  errors: [
    'ERR_NO_HANDLER',
    'ERR_PEER_UNKNOWN',
    'ERR_PEER_AMBIGUOUS',
    'ERR_PEER_UNREACHABLE',
    'ERR_BUSY',
    'ERR_TIMEOUT',
    'ERR_STREAM',
    'ERR_ABORTED'
  ]
})

const takeStream = route({
  ...shared,
  method: 'PUT',
  operation: 'takeStream',
  summary: 'Waits for one that another node opens, and takes it.',
  description: 'Several that wait take one each, in the order in which they came.',
  errors: ['ERR_STREAM', 'ERR_ABORTED']
})

/** The stream is open: from here on the answer is its bytes. */
function begin(
  { raw }: FastifyRequest,
  reply: FastifyReply,
  { metadata, peer }: ByteStream
): Omit<Exchange, 'endsLast'> {
  const response = reply.raw
  reply.hijack()
  response.writeHead(200, {
    ...(reply.getHeaders() as Record<string, string>),
    'content-type': 'application/octet-stream',
    'cache-control': 'no-store',
    'skein-peer': peer,
    'skein-metadata': headerBytes(JSON.stringify(metadata).replaceAll('\u007f', '\\u007f'))
  })
  response.flushHeaders()
  return { raw, response }
}

export function addStreamRoutes(api: Api, components: StreamRoutesComponents): void {
  const { node, signal } = components
  const takers = new Map<string, Takers>()
  api.add(openStream, async ({ headers, path, query, reply, request }) => {
    await whileConnected(request.raw, signal, async (connected) => {
      const options = { peer: query.peer, metadata: headers.metadata, signal: connected }
      const stream = await node.openStream(path.name, options)
      await copyStream(stream, { ...begin(request, reply, stream), endsLast: true }, connected)
    })
  })
  api.add(takeStream, async ({ path, reply, request }) => {
    const { name } = path
    const queue = takers.get(name) ?? new Takers()
    const handle = (take: (stream: IncomingStream) => Promise<void>): (() => void) => {
      const release = node.handleStream(name, take)
      takers.set(name, queue)
      return () => {
        takers.delete(name)
        release()
      }
    }
    await whileConnected(request.raw, signal, (connected) =>
      queue.take(
        handle,
        (stream) => {
          const exchange = { ...begin(request, reply, stream), endsLast: false }
          return copyStream(stream, exchange, connected)
        },
        connected
      )
    )
  })
}
