import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { lostMessages } from '../../simulations/checkers/lost-messages.ts'
import { publisherOrder } from '../../simulations/checkers/publisher-order.ts'
import { repeatedMessages } from '../../simulations/checkers/repeated-messages.ts'
import type { MessageRef, TraceEvent, Violation } from '../../simulations/trace.ts'
import { describe, expect, it, onTestFinished } from 'vitest'
import {
  NodeProcess,
  eventually,
  loops,
  randomMesh,
  run,
  temporaryFolder
} from './skein-process.ts'

const MINUTE = 60_000

interface Line {
  readonly id: string
  readonly topic: string
  readonly payload: string
}

async function node(...args: string[]): Promise<NodeProcess> {
  const folder = await temporaryFolder(onTestFinished)
  const process = new NodeProcess(folder, [
    '--no-mdns',
    '--mesh',
    randomMesh(),
    '--listen',
    '/ip4/127.0.0.1/tcp/0',
    ...args
  ])
  onTestFinished(async () => {
    await process.kill()
  })
  return process
}

/** Everything in the node's logs. */
async function readAll(process: NodeProcess): Promise<Line[]> {
  const topics = await process.call<{ channel: string; messages: number }[]>('GET', '/v1/topics')
  const count = topics.reduce((sum, topic) => sum + topic.messages, 0)
  if (count === 0) return []
  const args = [
    'sub',
    'lines',
    '--from',
    'earliest',
    '--json',
    '--count',
    String(count),
    '--timeout',
    '30s'
  ]
  const result = await run([...args, '--api', process.ready.api], { env: process.env })
  expect(result).toMatchObject({ code: 0 })
  return result.stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line)
}

/** Publishes without a break until the node is gone; tells what was confirmed. */
async function publishUntilKilled(
  process: NodeProcess,
  life: number,
  killAfter: number
): Promise<Map<string, string>> {
  const confirmed = new Map<string, string>()
  let next = 0
  let dead = false
  const publisher = async (): Promise<void> => {
    while (!dead) {
      const payload = `life ${life} line ${next++}`
      try {
        const response = await process.fetch('/v1/publish/lines', { method: 'POST', body: payload })
        const { id } = (await response.json()) as { id: string }
        if (response.status === 202) confirmed.set(id, payload)
      } catch {
        // Not confirmed: the kill came first.
        return
      }
      if (confirmed.size >= killAfter && !dead) {
        dead = true
        await process.kill()
      }
    }
  }
  await Promise.all(Array.from({ length: 8 }, publisher))
  return confirmed
}

describe('crash: publisher', () => {
  it(
    'keeps every confirmed line over kill -9 in mid-stream, and uses no sequence twice',
    async () => {
      const process = await node()
      const confirmed = new Map<string, string>()
      const seen = new Map<string, string>()
      for (let life = 0; life < loops(50); life++) {
        await process.start()
        for (const { id, payload } of await readAll(process)) {
          expect(seen.get(id) ?? payload).toBe(payload)
          seen.set(id, payload)
        }
        expect([...confirmed].filter(([id, payload]) => seen.get(id) !== payload)).toEqual([])
        const killAfter = 20 + ((life * 37) % 180)
        for (const [id, payload] of await publishUntilKilled(process, life, killAfter)) {
          expect(confirmed.has(id)).toBe(false)
          confirmed.set(id, payload)
        }
      }
      await process.start()
      const lines = await readAll(process)
      const byId = new Map(lines.map(({ id, payload }) => [id, payload]))
      expect(byId.size).toBe(lines.length)
      expect([...confirmed].filter(([id, payload]) => byId.get(id) !== payload)).toEqual([])
      expect(confirmed.size).toBeGreaterThan(loops(50) * 20)
    },
    10 * MINUTE
  )
})

const WORKER = 'worker'

/** What a consumer process said over all its lives. */
class Account {
  readonly trace: TraceEvent[] = [
    { kind: 'subscribed', subscription: WORKER, filter: 'work/#', durable: true }
  ]
  readonly payloads = new Set<string>()
  /** Hand-overs so far. */
  handled = 0

  published(ids: readonly string[]): void {
    for (const id of ids)
      this.trace.push({ kind: 'confirmed', message: refOf(id), topic: 'work/tasks' })
  }

  take(line: string): void {
    const [what, id = '', attempt = '', ...rest] = line.split(' ')
    if (what === 'acked') this.trace.push({ kind: 'acknowledged', subscription: WORKER, id })
    else {
      this.trace.push({
        kind: 'handed',
        subscription: WORKER,
        message: refOf(id),
        attempt: Number(attempt),
        late: false
      })
      this.handled++
      this.payloads.add(rest.join(' '))
    }
  }

  /** What the rules say of it, once everything came. */
  violations(): Violation[] {
    return [lostMessages, repeatedMessages, publisherOrder].flatMap((check) => check(this.trace))
  }
}

function refOf(id: string): MessageRef {
  const [publisher = '', session = '', sequence = '', channel = ''] = id.split('/')
  return { id, publisher, session, sequence: Number(sequence), channel }
}

function consumer(
  process: NodeProcess,
  account: Account
): { child: ChildProcess; ended: Promise<unknown> } {
  const script = fileURLToPath(new URL('./pull-consumer.ts', import.meta.url))
  const args = ['--import', 'tsx', script, join(process.dataDir, 'api.json'), 'worker']
  const child = spawn('node', args, { stdio: ['ignore', 'pipe', 'ignore'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  const lines = createInterface(child.stdout)
  lines.on('line', (line) => account.take(line))
  return { child, ended: once(lines, 'close') }
}

async function subscribeAndPublish(
  process: NodeProcess,
  account: Account,
  count: number
): Promise<string[]> {
  await process.call('PUT', '/v1/subscriptions/worker', {
    filter: 'work/#',
    from: 'earliest',
    ackTimeoutMs: 1000
  })
  const lines = Array.from({ length: count }, (_, index) => `task ${index}`)
  const response = await process.fetch('/v1/publish/work/tasks?split=lines', {
    method: 'POST',
    body: lines.join('\n')
  })
  expect(response.status).toBe(202)
  const { first } = (await response.json()) as { first: { id: string } }
  const { publisher, session, sequence, channel } = refOf(first.id)
  account.published(lines.map((_, i) => `${publisher}/${session}/${sequence + i}/${channel}`))
  return lines
}

const handledMore = (account: Account, than: number): Promise<true> =>
  eventually(() => (account.handled > than ? (true as const) : undefined), {
    what: 'another message handled',
    timeoutMs: 60_000
  })

describe('crash: durable subscriber', () => {
  it(
    'whose process is killed in mid-stream handles every message and repeats only what it had not acknowledged',
    async () => {
      const process = await node()
      await process.start()
      const account = new Account()
      const lines = await subscribeAndPublish(process, account, loops(50) * 200)
      for (let life = 0; life < loops(50); life++) {
        const { child, ended } = consumer(process, account)
        await handledMore(account, account.handled + ((life * 13) % 60))
        child.kill('SIGKILL')
        await ended
      }
      consumer(process, account)
      await eventually(() => account.payloads.size === lines.length || undefined, {
        timeoutMs: MINUTE,
        what: 'every message handled'
      })
      expect(account.violations()).toEqual([])
      expect([...account.payloads].toSorted()).toEqual(lines.toSorted())
    },
    10 * MINUTE
  )

  it(
    'whose node is killed handles every message and repeats only what it had not acknowledged',
    async () => {
      const process = await node()
      await process.start()
      const account = new Account()
      const lines = await subscribeAndPublish(process, account, loops(50) * 200)
      consumer(process, account)
      for (let life = 0; life < loops(50); life++) {
        await handledMore(account, account.handled + ((life * 13) % 60))
        await process.kill()
        await process.start()
      }
      await eventually(() => account.payloads.size === lines.length || undefined, {
        timeoutMs: MINUTE,
        what: 'every message handled'
      })
      expect(account.violations()).toEqual([])
      expect([...account.payloads].toSorted()).toEqual(lines.toSorted())
    },
    10 * MINUTE
  )
})
