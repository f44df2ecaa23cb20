import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it, onTestFinished } from 'vitest'
import { silentLogger } from '../../src/core/logger.ts'
import { createNode } from '../../src/index.ts'
import { eventually } from './skein-process.ts'

const WORKER = fileURLToPath(new URL('./pipeline-worker.ts', import.meta.url))
const ORDERS = 12
const KILLED_AT = 5

interface Step {
  readonly child: ChildProcess
  readonly said: string[]
}

async function start(args: readonly string[]): Promise<Step> {
  const child = fork(WORKER, args, { execArgv: ['--import', 'tsx'], stdio: 'inherit' })
  onTestFinished(() => void child.kill('SIGKILL'))
  const said: string[] = []
  child.on('message', (text) => said.push(text as string))
  await eventually(() => said.includes('ready'), { timeoutMs: 60_000 })
  return { child, said }
}

describe('pipeline', () => {
  it('killed between output and acknowledgement repeats, and loses nothing; with the id of its input it does not even repeat', async () => {
    const dataDir = await mkdtemp(join(tmpdir(), 'skein-pipeline-'))
    onTestFinished(() => rm(dataDir, { recursive: true, force: true }))
    const mesh = `pipeline-${process.pid}`
    const shop = await createNode({
      mesh,
      name: 'shop',
      mdns: false,
      listen: ['/ip4/127.0.0.1/tcp/0'],
      logger: silentLogger
    })
    onTestFinished(() => shop.stop())
    const invoices: Record<string, number[]> = { 'invoices/plain': [], 'invoices/once': [] }
    const results = shop.subscribe('invoices/#')
    results.onMessage((message) => void invoices[message.topic]?.push(message.json<number>()))
    await results.ready
    const [address = ''] = shop.status().addresses
    const first = await start([dataDir, mesh, address, `${KILLED_AT}`])
    const ended = once(first.child, 'exit')
    for (let order = 1; order <= ORDERS; order++) await shop.publish('orders/new', order)
    expect(await ended).toEqual([null, 'SIGKILL'])
    const second = await start([dataDir, mesh, address])
    await eventually(() => second.said.some((text) => text.startsWith(`${ORDERS} `)), {
      timeoutMs: 60_000
    })
    expect(second.said).toContain(`${KILLED_AT} 2`)
    const all = Array.from({ length: ORDERS }, (__, at) => at + 1)
    const last = all.slice(KILLED_AT - 1)
    await eventually(() => invoices['invoices/once']?.length === ORDERS)
    expect(invoices).toEqual({
      'invoices/plain': [...all.slice(0, KILLED_AT), ...last],
      'invoices/once': all
    })
  }, 120_000)
})
