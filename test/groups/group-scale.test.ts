import { expect, it, onTestFinished } from 'vitest'
import type { Subscription } from '../../src/delivery/contract.ts'
import { EngineMesh, type MeshNode } from '../fixtures/engine-mesh.ts'
import { eventually, full } from '../processes/skein-process.ts'
import { outgoing } from '../../src/node/outgoing.ts'

const TASKS = full ? 100_000 : 10_000
const CHUNK = TASKS / 40
const KEYS = 61

/** What members were handed: how often each task, and where a task of a key came before an earlier one. */
class Ledger {
  readonly times = new Uint8Array(TASKS)
  handed = 0
  disorder = 0
  readonly #newest = new Map<string, number>()

  add(task: number, key: string): void {
    this.times[task] = (this.times[task] ?? 0) + 1
    this.handed++
    if (task < (this.#newest.get(key) ?? -1)) this.disorder++
    this.#newest.set(key, task)
  }
}

async function join(node: MeshNode, ledger: Ledger): Promise<Subscription> {
  const subscription = node.group('jobs/#', 'billing', { from: 'earliest' })
  subscription.onMessage((message) => ledger.add(Number(message.text()), message.key ?? ''))
  await subscription.ready
  return subscription
}

async function publishChunk(node: MeshNode, from: number): Promise<void> {
  await Promise.all(
    Array.from({ length: CHUNK }, (_, at) =>
      node.engine.publisher.publish(
        outgoing('jobs/new', `${from + at}`, { key: `k${(from + at) % KEYS}` }, 192 * 1024),
        'stored'
      )
    )
  )
}

it('group: from one member to four and down to two, each task is handed over once, in the order of its key', async () => {
  const mesh = new EngineMesh()
  onTestFinished(() => mesh.stop())
  const nodes = await mesh.nodes(5)
  const [publisher, ...others] = nodes as [MeshNode, MeshNode, MeshNode, MeshNode, MeshNode]
  const ledger = new Ledger()
  const members: Subscription[] = [await join(others[0], ledger)]
  // Who comes and who leaves, after so many chunks.
  const changes = new Map<number, () => Promise<unknown>>([
    [8, async () => members.push(await join(others[1], ledger))],
    [12, async () => members.push(await join(others[2], ledger), await join(others[3], ledger))],
    [24, async () => members[0]?.stop()],
    [30, async () => members[2]?.stop()]
  ])
  for (let chunk = 0; chunk < 40; chunk++) {
    await changes.get(chunk)?.()
    await publishChunk(publisher, chunk * CHUNK)
    // Some are always under way.
    await eventually(() => ledger.handed >= (chunk - 1) * CHUNK, { timeoutMs: 60_000 })
  }
  await eventually(() => ledger.handed >= TASKS, { timeoutMs: 120_000 })
  expect(ledger.times.filter((times) => times !== 1)).toHaveLength(0)
  expect(ledger.disorder).toBe(0)
}, 600_000)
