import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { SkeinError } from '../../src/core/errors.ts'
import type { Calls, Notice, Operation, Reply, Request } from './protocol.ts'

export interface WorkerProcessInit {
  readonly onNotice: (notice: Exclude<Notice, { say: 'alive' }>) => void
  /** It has ended. `text`: how, and the last that it wrote to its standard error. */
  readonly onExit: (text: string) => void
}

interface Waiting {
  readonly resolve: (answer: unknown) => void
  readonly reject: (error: Error) => void
}

/** Beside this file, as source or compiled as this one is. */
const WORKER = fileURLToPath(
  new URL(import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js', import.meta.url)
)
/** Of what it writes to standard error. */
const KEPT_CHARACTERS = 4000

/** A process with one node in it, which answers calls until it ends. */
export class WorkerProcess {
  readonly #child: ChildProcess
  readonly #alive: Promise<void>
  readonly #gone: Promise<void>
  readonly #waiting = new Map<number, Waiting>()
  #calls = 0
  #log = ''

  constructor({ onExit, onNotice }: WorkerProcessInit) {
    const child = fork(WORKER, [], {
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'pipe', 'ipc']
    })
    this.#child = child
    let gone = (): void => undefined
    this.#gone = new Promise((resolve) => (gone = resolve))
    child.stderr?.on('data', (bytes: Buffer) => {
      this.#log = (this.#log + bytes.toString()).slice(-KEPT_CHARACTERS)
    })
    let alive = (): void => undefined
    this.#alive = new Promise((resolve) => (alive = resolve))
    child.on('message', (reply: Reply) => {
      if (reply.say === 'alive') alive()
      else if (reply.say === 'answer' || reply.say === 'refused') this.#answered(reply)
      else onNotice(reply)
    })
    child.once('close', (code: number | null, signal: string | null) => {
      onExit(`${signal ?? `exit code ${code ?? '?'}`}${this.#log === '' ? '' : `: ${this.#log}`}`)
      for (const id of this.#waiting.keys()) this.#refuse(id)
      alive()
      gone()
    })
    // It could not be started, or has gone while it was told something: it closes then, too.
    child.on('error', (error) => (this.#log += error.message))
  }

  /** Rejects with what the node refuses it with, with ERR_STOPPED when the process ends first. */
  call<Op extends Operation>(op: Op, params: Calls[Op]['params']): Promise<Calls[Op]['answer']> {
    const id = this.#calls++
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, {
        resolve: (answer) => resolve(answer as Calls[Op]['answer']),
        reject
      })
      const request = { id, op, params } as Request
      void this.#alive.then(() => {
        if (this.#child.connected) this.#child.send(request)
        else this.#refuse(id)
      })
    })
  }

  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child.kill(signal)
  }

  /** Resolves when it has ended. */
  get gone(): Promise<void> {
    return this.#gone
  }

  /** Kills it; a frozen one too. */
  kill(): void {
    this.#child.kill('SIGKILL')
  }

  #answered(reply: Extract<Reply, { say: 'answer' | 'refused' }>): void {
    const waiting = this.#waiting.get(reply.id)
    this.#waiting.delete(reply.id)
    if (reply.say === 'answer') waiting?.resolve(reply.answer)
    else waiting?.reject(SkeinError.from(reply.error))
  }

  #refuse(id: number): void {
    const waiting = this.#waiting.get(id)
    this.#waiting.delete(id)
    waiting?.reject(new SkeinError('ERR_STOPPED', 'the process of the node has ended'))
  }
}
