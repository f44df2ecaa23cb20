import { mkdtemp, rm } from 'node:fs/promises'
import { type ClientRequest, request as open } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { writeApiFile } from '../../src/cli/data-home.ts'
import { silentLogger } from '../../src/core/logger.ts'
import { createNode } from '../../src/index.ts'
import type { NodeOptions, SkeinNode } from '../../src/index.ts'
import { serve } from '../../src/sidecar/index.ts'

type Call = (
  path: string,
  init?: { method?: string; body?: unknown; headers?: Record<string, string> }
) => Promise<Response>

export interface Served {
  readonly node: SkeinNode
  readonly call: Call
  /** A request whose body is still to be written. */
  readonly request: (method: string, path: string) => ClientRequest
  /** Idempotent, and done at the end of the test. */
  readonly stop: () => Promise<void>
  /** Options by which commands find it. */
  readonly at: string[]
}

/** A real node with its HTTP interface, where the commands find it. */
export async function served(options: NodeOptions = {}): Promise<Served> {
  const node = await createNode({
    mesh: `served-${process.pid}`,
    mdns: false,
    listen: ['/ip4/127.0.0.1/tcp/0'],
    logger: silentLogger,
    ...options
  })
  const doors = await serve(node, { http: '127.0.0.1:0', logger: silentLogger })
  const { url, token = '' } = doors
  const dataDir = await mkdtemp(join(tmpdir(), 'skein-served-'))
  const stop = async (): Promise<void> => {
    await doors.stop()
    await node.stop()
  }
  onTestFinished(async () => {
    await stop()
    await rm(dataDir, { recursive: true, force: true })
  })
  await writeApiFile(dataDir, { url, token, pid: process.pid })
  const own = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
  const call: Call = (path, { method = 'GET', body, headers } = {}) =>
    fetch(`${url}${path}`, {
      method,
      headers: { ...own, ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) })
    })
  const request = (method: string, path: string): ClientRequest =>
    open(`${url}${path}`, { method, headers: { ...own, connection: 'keep-alive' } })
  return { node, call, request, stop, at: ['--data-dir', dataDir] }
}
