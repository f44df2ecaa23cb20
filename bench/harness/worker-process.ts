import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Role } from '../adapters/contract.ts'
import { ENVIRONMENT } from '../contenders.ts'
import type { Orders, Reply, Request } from '../worker/protocol.ts'

const STOP_MS = 3000

interface Pending {
  readonly resolve: (answer: unknown) => void
  readonly reject: (error: Error) => void
}

/** The harness's end of one worker. */
export class WorkerProcess {
  readonly role: Role
  readonly #child: ChildProcess
  readonly #pending = new Map<number, Pending>()
  readonly #onProgress: () => void
  /** Resolves when a probe has reached it. */
  readonly probed: Promise<void>
  /** Messages it has received in this phase, as last reported. */
  progress = 0
  #onProbed!: () => void
  #lastId = 0

  constructor(role: Role, build: URL, onProgress: () => void) {
    this.role = role
    this.#onProgress = onProgress
    this.probed = new Promise((resolve) => {
      this.#onProbed = resolve
    })
    this.#child = fork(fileURLToPath(new URL('bench/worker/worker.js', build)), [], {
      serialization: 'advanced',
      env: ENVIRONMENT,
      execArgv: ['--experimental-import-meta-resolve', '--no-warnings'],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc']
    })
    this.#child.on('message', (reply: Reply) => this.#take(reply))
    this.#child.on('exit', (code, signal) => {
      const error = new Error(`the ${role} ended by ${signal ?? `exit code ${String(code)}`}`)
      for (const { reject } of this.#pending.values()) reject(error)
      this.#pending.clear()
    })
  }

  ask<Name extends keyof Orders>(
    name: Name,
    order: Parameters<Orders[Name]>[0]
  ): ReturnType<Orders[Name]> {
    const id = ++this.#lastId
    const answer = new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject })
    })
    this.#send({ id, name, order })
    return answer as ReturnType<Orders[Name]>
  }

  /** How many messages the slowest subscriber has. */
  tellDelivered(delivered: number): void {
    this.#send({ delivered })
  }

  async stop(): Promise<void> {
    if (this.#child.connected) {
      const ended = once(this.#child, 'exit')
      this.#send({ id: 0, name: 'stop', order: {} })
      await Promise.race([ended, sleep(STOP_MS, undefined, { ref: false })])
    }
    this.kill()
  }

  kill(): void {
    if (this.#child.exitCode === null) this.#child.kill('SIGKILL')
  }

  #send(request: Request): void {
    if (this.#child.connected) this.#child.send(request)
  }

  #take(reply: Reply): void {
    if ('event' in reply) {
      if (reply.event === 'probed') return this.#onProbed()
      this.progress = reply.count
      return this.#onProgress()
    }
    const pending = this.#pending.get(reply.id)
    if (pending === undefined) return
    this.#pending.delete(reply.id)
    if ('error' in reply) pending.reject(new Error(`${this.role}: ${reply.error}`))
    else pending.resolve(reply.answer)
  }
}
