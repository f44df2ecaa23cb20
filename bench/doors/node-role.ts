import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { silentLogger } from '../../src/core/logger.ts'
import { createNode, type SkeinNode } from '../../src/index.ts'
import { serve } from '../../src/sidecar/index.ts'
import { type Load, Marks, loaded, mark } from './load.ts'
import { answerCalls } from './role.ts'

// A node on disk with its HTTP interface, or with none.

const dataDir = mkdtempSync(join(tmpdir(), 'skein-doors-'))
process.on('exit', () => rmSync(dataDir, { recursive: true, force: true }))

export interface NodeArgument {
  readonly name: string
  readonly mesh: string
  readonly join: readonly string[]
  readonly http: boolean
}

export interface NodeAnswer {
  readonly addresses: readonly string[]
  readonly url: string
  readonly token: string
}

export interface Resources {
  readonly rssBytes: number
  readonly heapBytes: number
  readonly externalBytes: number
  readonly cpuMs: number
}

const marks = new Marks()
let opened: SkeinNode | undefined

function node(): SkeinNode {
  if (opened === undefined) throw new Error('the node is not open yet')
  return opened
}

answerCalls({
  open: async ({ http, join: peers, mesh, name }: NodeArgument): Promise<NodeAnswer> => {
    opened = await createNode({
      name,
      mesh,
      dataDir,
      mdns: false,
      listen: ['/ip4/127.0.0.1/tcp/0'],
      join: [...peers],
      logger: silentLogger
    })
    const doors = http
      ? await serve(opened, { http: '127.0.0.1:0', logger: silentLogger })
      : undefined
    const { addresses } = opened.status()
    return { addresses, url: doors?.url ?? '', token: doors?.token ?? '' }
  },
  peers: () => node().status().peers.connected,
  resources: async (): Promise<Resources> => {
    // What is garbage is nobody's cost; a second run finds what the first one freed.
    for (let n = 0; n < 3; n++) {
      await new Promise((resolve) => setTimeout(resolve, 50))
      globalThis.gc?.()
    }
    const { arrayBuffers, external, heapUsed, rss } = process.memoryUsage()
    const { system, user } = process.cpuUsage()
    return {
      rssBytes: rss,
      heapBytes: heapUsed,
      externalBytes: external + arrayBuffers,
      cpuMs: (system + user) / 1000
    }
  },
  publish: async ({ bytes, count, window }: { bytes: number; count: number; window: number }) => {
    const payload = Buffer.alloc(bytes, 'x')
    for (let n = 0; n < count; n += window) {
      const batch = Array.from({ length: Math.min(window, count - n) }, () =>
        node().publish('bench/events', payload, { contentType: 'text/plain' })
      )
      await Promise.all(batch)
    }
  },
  /** Latencies of the library alone, from this node to another one. */
  echo: () => void node().reply('bench', ({ payload }) => payload),
  echoing: () =>
    node()
      .peers()
      .some(({ services }) => services.includes('bench')),
  requests: (load: Load) =>
    loaded(load, async () => void (await node().request('bench', Buffer.alloc(128, 'x')))),
  /** What comes to this node by its library. */
  watch: async () => {
    const subscription = node().subscribe('bench/marks')
    await subscription.ready
    subscription.onMessage(({ payload }) => marks.add(Buffer.from(payload).toString('latin1')))
  },
  marks: () => marks.take(),
  publishMarks: (load: Load) =>
    loaded(load, async () => void (await node().publish('bench/marks', mark())))
})
