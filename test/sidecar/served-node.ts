import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { writeApiFile } from '../../src/cli/data-home.ts'
import { silentLogger } from '../../src/core/logger.ts'
import { createNode } from '../../src/index.ts'
import type { NodeOptions, SkeinNode } from '../../src/index.ts'
import { serve } from '../../src/sidecar/index.ts'

export type Call = (
  path: string,
  init?: { method?: string; body?: unknown; headers?: Record<string, string>; signal?: AbortSignal }
) => Promise<Response>

/** A real node with its HTTP interface, where the commands find it. */
export async function served(
  options: NodeOptions = {}
): Promise<{ node: SkeinNode; call: Call; at: string[] }> {
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
  onTestFinished(async () => {
    await doors.stop()
    await node.stop()
    await rm(dataDir, { recursive: true, force: true })
  })
  await writeApiFile(dataDir, { url, token, pid: process.pid })
  const own = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
  const call: Call = (path, { method = 'GET', body, headers, signal } = {}) =>
    fetch(`${url}${path}`, {
      method,
      headers: { ...own, ...headers },
      ...(signal === undefined ? {} : { signal }),
      ...(body === undefined ? {} : { body: JSON.stringify(body) })
    })
  return { node, call, at: ['--data-dir', dataDir] }
}
