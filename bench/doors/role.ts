import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

// One part of a measurement in a process of its own, called by name from the one that measures.

type Handler = (argument: never) => unknown

interface Call {
  readonly id: number
  readonly name: string
  readonly argument: unknown
}

interface Answer {
  readonly id: number
  readonly result?: unknown
  readonly failed?: string
}

/** What a process of that role can be asked for. */
export function answerCalls(handlers: Readonly<Record<string, Handler>>): void {
  process.on('message', ({ argument, id, name }: Call) => {
    const answered = (async () => handlers[name]?.(argument as never))()
    answered.then(
      (result) => process.send?.({ id, result } satisfies Answer),
      (error: unknown) => process.send?.({ id, failed: String(error) } satisfies Answer)
    )
  })
  process.once('disconnect', () => process.exit(0))
}

/** A process that plays one role. */
export class Role {
  readonly #child: ChildProcess
  readonly #waiting = new Map<
    number,
    { resolve(result: unknown): void; reject(why: Error): void }
  >()
  #calls = 0

  /** `file` stands beside this one. */
  constructor(file: string) {
    this.#child = fork(fileURLToPath(new URL(file, import.meta.url)), {
      execArgv: [...process.execArgv, '--expose-gc'],
      stdio: ['ignore', 2, 2, 'ipc']
    })
    this.#child.on('message', ({ failed, id, result }: Answer) => {
      const waiting = this.#waiting.get(id)
      this.#waiting.delete(id)
      if (failed === undefined) waiting?.resolve(result)
      else waiting?.reject(new Error(failed))
    })
    this.#child.on('exit', () => {
      for (const call of this.#waiting.values()) call.reject(new Error(`${file} ended`))
    })
  }

  call<Result>(name: string, argument?: unknown): Promise<Result> {
    const id = this.#calls++
    return new Promise<Result>((resolve, reject) => {
      this.#waiting.set(id, { resolve: resolve as (result: unknown) => void, reject })
      this.#child.send({ id, name, argument } satisfies Call)
    })
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const ended = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await ended
  }
}
