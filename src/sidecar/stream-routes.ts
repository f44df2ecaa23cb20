import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { ByteStream, IncomingStream, SkeinNode, StreamMetadata } from '../node/contract.ts'
import { headerBytes, headerText, unknownHeader } from './message-headers.ts'
import { decodeSegment, optionError, pathOf, readQuery } from './query.ts'
import type { RouteConfig } from './route-config.ts'
import { type Exchange, copyStream } from './stream-copy.ts'
import { whileConnected } from './waiting.ts'

const ROOT = '/v1/streams'

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

function nameOf(request: FastifyRequest): string {
  return decodeSegment(pathOf(request.raw.url ?? '').slice(ROOT.length + 1), 'name')
}

function metadataOf({ headers }: FastifyRequest): StreamMetadata {
  for (const name of Object.keys(headers)) {
    if (name.startsWith('skein-') && name !== 'skein-metadata') throw unknownHeader(name)
  }
  const text = headers['skein-metadata']
  if (typeof text !== 'string') return {}
  try {
    const value: unknown = JSON.parse(headerText(text))
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      return value as StreamMetadata
  } catch (error) {
    throw optionError('Skein-Metadata', `it is not JSON: ${(error as Error).message}.`)
  }
  throw optionError('Skein-Metadata', 'it is not a JSON object.')
}

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

const config: RouteConfig = { isDuplex: true, stream: 'bytes' }

export function addStreamRoutes(app: FastifyInstance, components: StreamRoutesComponents): void {
  const { node, signal } = components
  const takers = new Map<string, Takers>()
  const url = `${ROOT}/:name`
  app.post(url, { config }, async (request, reply) => {
    const peer = readQuery(request.raw.url ?? '', ['peer']).get('peer')
    const metadata = metadataOf(request)
    await whileConnected(request.raw, signal, async (connected) => {
      const options = { peer, metadata, signal: connected }
      const stream = await node.openStream(nameOf(request), options)
      await copyStream(stream, { ...begin(request, reply, stream), endsLast: true }, connected)
    })
  })
  app.put(url, { config }, async (request, reply) => {
    readQuery(request.raw.url ?? '', [])
    const name = nameOf(request)
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
