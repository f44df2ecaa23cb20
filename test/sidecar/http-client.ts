import { request } from 'node:http'
import type { ClientRequest, IncomingMessage } from 'node:http'
import { afterEach } from 'vitest'
import { type Logger, silentLogger } from '../../src/core/logger.ts'
import type { Problem } from '../../src/sidecar/index.ts'
import { createSidecar } from '../../src/sidecar/server.ts'
import type { Sidecar, SidecarInit } from '../../src/sidecar/server.ts'
import { assertDescribed, assertEventDescribed } from './described.ts'
import { FakeNode } from './fake-node.ts'

export const TOKEN = 'secret-token'

export interface Answer {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly text: string
  json<T = Record<string, unknown>>(): T
  problem(): Problem
}

export interface CallOptions {
  readonly method?: string
  readonly headers?: Record<string, string>
  readonly body?: string | Buffer
  /** Default the right one. */
  readonly token?: string | null
}

/** An event of a stream. */
export interface Event {
  readonly event: string
  readonly id: string | undefined
  readonly data: string
}

interface BenchComponents {
  /** Default: one that says nothing. */
  readonly logger?: Logger
}

export class Bench {
  readonly node = new FakeNode()
  readonly sidecar: Sidecar
  readonly #streams = new Set<ClientRequest>()

  constructor(init: Partial<SidecarInit> = {}, { logger = silentLogger }: BenchComponents = {}) {
    this.sidecar = createSidecar(
      { node: this.node, logger },
      {
        host: '127.0.0.1',
        port: 0,
        exactPort: true,
        token: TOKEN,
        allowHosts: [],
        allowOrigins: [],
        insecure: false,
        ...init
      }
    )
  }

  /** Opens a request without sending its body's end. */
  open(path: string, options: CallOptions = {}): ClientRequest {
    const { token = TOKEN } = options
    const authorization = token === null ? {} : { authorization: `Bearer ${token}` }
    const url = new URL(this.sidecar.url)
    // The path as it is: URL would normalise what a test means literally.
    return request({
      host: url.hostname,
      port: url.port,
      path,
      method: options.method ?? 'GET',
      headers: { ...authorization, ...options.headers },
      agent: false
    })
  }

  async call(path: string, options: CallOptions = {}): Promise<Answer> {
    const req = this.open(path, options)
    const answering = answerOf(req)
    req.end(options.body)
    const answer = await answering
    assertDescribed(this.sidecar.routes, { method: options.method ?? 'GET', path }, answer)
    return answer
  }

  post(path: string, body: string | Buffer, headers: Record<string, string> = {}): Promise<Answer> {
    return this.call(path, { method: 'POST', body, headers })
  }

  json(method: string, path: string, body: unknown): Promise<Answer> {
    return this.call(path, {
      method,
      body: JSON.stringify(body),
      headers: { 'content-type': 'application/json' }
    })
  }

  /** Opens an event stream; resolves when its head is there. */
  async stream(path: string, headers: Record<string, string> = {}): Promise<EventReader> {
    const req = this.open(path, { headers })
    this.#streams.add(req)
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      req.on('response', resolve).on('error', reject)
      req.end()
    })
    return new EventReader(req, response)
  }

  async stop(): Promise<void> {
    for (const req of this.#streams) req.destroy()
    await this.sidecar.stop()
    await this.node.stop()
  }
}

export function answerOf(req: ClientRequest): Promise<Answer> {
  return new Promise((resolve, reject) => {
    req.on('error', reject)
    req.on('response', (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString('utf8')
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          text,
          json: () => JSON.parse(text),
          problem: () => JSON.parse(text)
        })
      })
    })
  })
}

export class EventReader {
  readonly req: ClientRequest
  readonly response: IncomingMessage
  readonly comments: string[] = []
  #buffer = ''
  readonly #events: Event[] = []
  #wake: (() => void) | undefined
  #ended = false

  constructor(req: ClientRequest, response: IncomingMessage) {
    this.req = req
    this.response = response
    req.on('error', () => {})
    response.setEncoding('utf8')
    response.on('data', (text: string) => this.#push(text))
    const end = (): void => {
      this.#ended = true
      this.#wake?.()
    }
    response.on('end', end).on('error', end).on('close', end)
  }

  /** The next event; undefined when the stream has ended. */
  async next(): Promise<Event | undefined> {
    while (this.#events.length === 0 && !this.#ended) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    const event = this.#events.shift()
    if (event !== undefined) assertEventDescribed(event)
    return event
  }

  async nextJson<T = Record<string, unknown>>(): Promise<T> {
    return JSON.parse((await this.next())?.data ?? 'null') as T
  }

  close(): void {
    this.req.destroy()
  }

  #push(text: string): void {
    const blocks = (this.#buffer + text).split('\n\n')
    this.#buffer = blocks.pop() ?? ''
    for (const block of blocks) {
      if (block.startsWith(':')) this.comments.push(block)
      else this.#events.push(parseEvent(block))
    }
    this.#wake?.()
  }
}

function parseEvent(block: string): Event {
  const fields = new Map(
    block.split('\n').map((line) => {
      const colon = line.indexOf(': ')
      return [line.slice(0, colon), line.slice(colon + 2)] as const
    })
  )
  return { event: fields.get('event') ?? '', id: fields.get('id'), data: fields.get('data') ?? '' }
}

const benches: Bench[] = []

/** A started sidecar on a fake node, stopped after the test. */
export async function startBench(
  init: Partial<SidecarInit> = {},
  components: BenchComponents = {}
): Promise<Bench> {
  const bench = new Bench(init, components)
  benches.push(bench)
  await bench.sidecar.start()
  return bench
}

afterEach(async () => {
  for (const bench of benches.splice(0)) await bench.stop()
})
