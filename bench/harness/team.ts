import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { AdapterContext, Role } from '../adapters/contract.ts'
import { ADAPTERS } from '../adapters/registry.ts'
import type { Cell } from '../cells.ts'
import type { Contender } from '../contenders.ts'
import { BrokerProcess, freePorts } from './broker-process.ts'
import { WorkerProcess } from './worker-process.ts'

/** Where things are. */
export interface Places {
  /** The compiled bench. */
  readonly build: URL
  readonly skeinUrl: string
  readonly peersDir: string
}

/** CPU seconds so far: of each worker, the publisher first, and of the server. */
export interface CpuReading {
  readonly workers: readonly number[]
  readonly broker: number
}

/** All processes of one contender in one cell, and their files. */
export class Team {
  readonly #places: Places
  readonly #dir = mkdtempSync(join(tmpdir(), 'skein-bench-'))
  #workers: WorkerProcess[] = []
  #broker: BrokerProcess | undefined

  constructor(places: Places) {
    this.#places = places
  }

  /** Starts the server if there is one, then the nodes: one after the other where they need each other's addresses. */
  async start(contender: Contender, cell: Cell): Promise<void> {
    const { adapter, options } = contender
    const [brokerPort = 0, ...ports] = await freePorts(2 + cell.subscribers)
    const { broker } = (await ADAPTERS[adapter]()) as Awaited<ReturnType<(typeof ADAPTERS)['nats']>>
    if (broker !== undefined) {
      const { build } = this.#places
      this.#broker = new BrokerProcess(broker({ options, build, port: brokerPort, dir: this.#dir }))
      await this.#broker.listening(brokerPort)
    }
    const startNode = (index: number, peers: readonly unknown[]): Promise<unknown> =>
      this.#startNode(contender, cell, { index, peers, ports, brokerPort })
    const indexes = Array.from({ length: cell.subscribers + 1 }, (_none, index) => index)
    if (contender.startsTogether) {
      await Promise.all(indexes.map((index) => startNode(index, [])))
      return
    }
    const addresses: unknown[] = []
    for (const index of indexes) {
      const peers = cell.topology === 'star' ? addresses.slice(0, 1) : [...addresses]
      addresses.push(await startNode(index, peers))
    }
  }

  /** Resolves to the node's address. */
  async #startNode(
    { adapter, options }: Contender,
    { workload }: Cell,
    node: Pick<AdapterContext, 'index' | 'peers' | 'ports' | 'brokerPort'>
  ): Promise<unknown> {
    const role: Role = node.index === 0 ? 'publisher' : 'subscriber'
    const { build, skeinUrl, peersDir } = this.#places
    const dir = join(this.#dir, `node-${node.index}`)
    mkdirSync(dir)
    const worker = new WorkerProcess(role, build, () => this.#tellProgress())
    this.#workers.push(worker)
    const context: AdapterContext = { ...node, options, dir, skeinUrl, peersDir }
    const serves = role === 'subscriber' && workload === 'request'
    return (await worker.ask('start', { adapter, role, serves, context })).address
  }

  get workers(): readonly WorkerProcess[] {
    return this.#workers
  }

  get publisher(): WorkerProcess {
    const [publisher] = this.#workers
    if (publisher === undefined) throw new Error('the team has not been started')
    return publisher
  }

  get subscribers(): readonly WorkerProcess[] {
    return this.#workers.slice(1)
  }

  /** Resolves when a probe has reached every subscriber. */
  async ready(): Promise<void> {
    await this.publisher.ask('probe', {})
    await Promise.all(this.subscribers.map((subscriber) => subscriber.probed))
    await this.publisher.ask('unprobe', {})
  }

  async cpu(): Promise<CpuReading> {
    const usages = await Promise.all(this.#workers.map((worker) => worker.ask('usage', {})))
    return {
      workers: usages.map((usage) => usage.cpuSeconds),
      broker: this.#broker?.cpuSeconds() ?? 0
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.stop()))
    await this.#broker?.stop()
    this.#removeFiles()
  }

  /** Ends everything at once. */
  kill(): void {
    for (const worker of this.#workers) worker.kill()
    this.#broker?.kill()
    this.#removeFiles()
  }

  #removeFiles(): void {
    rmSync(this.#dir, { recursive: true, force: true, maxRetries: 5 })
  }

  #tellProgress(): void {
    this.publisher.tellDelivered(Math.min(...this.subscribers.map(({ progress }) => progress)))
  }
}
