import { createServer } from 'node:http'
import type { IncomingHttpHeaders, Server, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { onTestFinished } from 'vitest'
import { silentLogger } from '../../src/core/logger.ts'
import type { SkeinNode } from '../../src/index.ts'
import { createSidecar } from '../../src/sidecar/server.ts'
import { tcpNode } from '../fixtures/tcp-node.ts'

/** What an application got. */
export interface Got {
  readonly text: string
  readonly body: Buffer
  readonly headers: IncomingHttpHeaders
}

export interface Endpoint {
  readonly url: string
  readonly got: Got[]
  /** Connections that were made. */
  readonly connections: () => number
  /** How it answers; default: 204. */
  answer: (got: Got, response: ServerResponse) => void
  /** Resolves when so many messages have come in all. */
  received(count: number): Promise<readonly Got[]>
  close(): Promise<void>
  /** On the same port again. */
  open(): Promise<void>
}

/** An application that takes pushes. */
export async function endpoint(): Promise<Endpoint> {
  const got: Got[] = []
  const waiting = new Set<() => void>()
  let connections = 0
  let port = 0
  let server: Server | undefined
  const open = async (): Promise<void> => {
    const opened = createServer((request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        const body = Buffer.concat(chunks)
        const one = { text: body.toString(), body, headers: request.headers }
        got.push(one)
        self.answer(one, response)
        for (const wake of waiting) wake()
      })
    })
    opened.on('connection', () => connections++)
    server = opened
    await new Promise<void>((resolve) => opened.listen(port, '127.0.0.1', resolve))
    port = (opened.address() as AddressInfo).port
  }
  const close = async (): Promise<void> => {
    const closing = server
    server = undefined
    closing?.closeAllConnections()
    await new Promise<void>((resolve) => (closing?.close(() => resolve()) ?? resolve()) as void)
  }
  await open()
  onTestFinished(close)
  const self: Endpoint = {
    url: `http://127.0.0.1:${port}/hook`,
    got,
    connections: () => connections,
    answer: (_got, response) => void response.writeHead(204).end(),
    received: (count) =>
      new Promise((resolve) => {
        const look = (): void => {
          if (got.length < count) return
          waiting.delete(look)
          resolve(got)
        }
        waiting.add(look)
        look()
      }),
    close,
    open
  }
  return self
}

export const TOKEN = 'token-of-the-tests'
/** Tests do not wait for what people wait for. */
const RETRY = { minMs: 20, maxMs: 60 }

export interface Doors {
  readonly url: string
  readonly call: (
    path: string,
    init?: { method?: string; body?: unknown }
  ) => Promise<{ status: number; body: ReturnType<typeof JSON.parse> }>
  readonly stop: () => Promise<void>
}

/** The HTTP interface of a node, which tries again soon. */
export async function doorsOf(node: SkeinNode, retry = RETRY): Promise<Doors> {
  const sidecar = createSidecar(
    { node, logger: silentLogger },
    {
      host: '127.0.0.1',
      port: 0,
      exactPort: true,
      token: TOKEN,
      allowHosts: [],
      allowOrigins: [],
      insecure: false,
      webhookRetry: retry
    }
  )
  await sidecar.start()
  onTestFinished(() => sidecar.stop())
  const { url } = sidecar
  return {
    url,
    stop: () => sidecar.stop(),
    call: async (path, { method = 'GET', body } = {}) => {
      const answer = await fetch(`${url}${path}`, {
        method,
        headers: { authorization: `Bearer ${TOKEN}`, 'content-type': 'application/json' },
        ...(body === undefined ? {} : { body: JSON.stringify(body) })
      })
      const text = await answer.text()
      const isJson = answer.headers.get('content-type')?.includes('json') === true
      return { status: answer.status, body: isJson ? JSON.parse(text) : text }
    }
  }
}

/** A node with its doors. */
export async function pushing(
  options: Parameters<typeof tcpNode>[0] = {}
): Promise<Doors & { readonly node: SkeinNode }> {
  const node = await tcpNode(options)
  return { node, ...(await doorsOf(node)) }
}
