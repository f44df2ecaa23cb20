import { systemClock } from '../../src/core/clock.ts'
import { SkeinError, isSkeinError } from '../../src/core/errors.ts'
import type { NodeOptions } from '../../src/node/options.ts'
import type { Life, RunNode } from '../runner/contract.ts'
import type { Notice, Sample } from './protocol.ts'
import { RemoteEngine } from './remote-engine.ts'
import { WorkerProcess } from './worker-process.ts'

export interface RealNodeInit {
  readonly name: string
  /** For its next life. */
  readonly options: () => Promise<NodeOptions>
  /** See `RemoteSubscriptionInit`. */
  readonly settled: () => Promise<void>
  /** A life has an identity; it is not open for work yet. */
  readonly onBorn: (peer: string) => void
  /** A life is open for work. */
  readonly onUp: (life: Life) => void
  readonly onDown: (how: 'stop' | 'crash') => void
  /** PeerIds of those that it is connected with. */
  readonly onConnected: (peers: readonly string[]) => void
  /** Something failed that nobody asked for. */
  readonly onBug: (error: unknown) => void
}

interface OwnLife extends Life {
  readonly engine: RemoteEngine
  readonly process: WorkerProcess
  born: Promise<void>
  alive: boolean
  up: boolean
  stopping: boolean
}

/** One node in processes of its own, one after the other. */
export class RealNode implements RunNode {
  readonly name: string
  readonly #init: RealNodeInit
  #life: OwnLife | undefined
  /** Present or past: while it is there, it has the data directory. */
  #process: WorkerProcess | undefined
  #wanted = false
  #paused = false

  constructor(init: RealNodeInit) {
    this.#init = init
    this.name = init.name
  }

  get working(): Life | undefined {
    return this.#paused ? undefined : this.life
  }

  get life(): Life | undefined {
    return this.#life?.up === true ? this.#life : undefined
  }

  /** It does all it was asked for by now. */
  get settled(): boolean {
    return this.#wanted ? this.#life?.up === true && this.#life.engine.opening === 0 : true
  }

  start(): void {
    this.#wanted = true
    if (this.#life === undefined) this.#guard(this.#begin(this.#process))
  }

  /** In order, as at SIGTERM; a frozen one is thawed first. */
  stop(): void {
    this.#wanted = false
    this.resume()
    const life = this.#life
    if (life !== undefined && !life.stopping) this.#guard(this.#end(life))
  }

  crash(): void {
    this.#wanted = false
    if (this.#life !== undefined) this.#kill(this.#life)
  }

  pause(): void {
    if (this.#life === undefined || this.#paused) return
    this.#paused = true
    this.#life.process.signal('SIGSTOP')
  }

  resume(): void {
    if (this.#life === undefined || !this.#paused) return
    this.#paused = false
    this.#life.process.signal('SIGCONT')
  }

  skew(): never {
    throw notReal()
  }

  setDisk(): never {
    throw notReal()
  }

  corrupt(): never {
    throw notReal()
  }

  /** What its process has sent by now has come in. A frozen one has sent what it had before. */
  async ping(): Promise<void> {
    await this.#ask(({ process }) => process.call('ping', {}))
  }

  /** Undefined while it is down or frozen. */
  async sample(): Promise<Sample | undefined> {
    const sample = await this.#ask(({ process }) => process.call('sample', {}))
    if (sample === undefined) return undefined
    this.#init.onConnected(sample.connected)
    this.#life?.engine.outboxIs(sample.outbox)
    return sample
  }

  /** The run is over: its process is killed, and nothing is told of it. Resolves when it is gone. */
  vanish(): Promise<void> {
    this.#wanted = false
    if (this.#life !== undefined) this.#bury(this.#life)
    this.#process?.kill()
    return this.#process?.gone ?? Promise.resolve()
  }

  async #ask<Answer>(ask: (life: OwnLife) => Promise<Answer>): Promise<Answer | undefined> {
    const life = this.#life
    if (life?.up !== true || this.#paused) return undefined
    try {
      const answer = await ask(life)
      return life.up ? answer : undefined
    } catch (error) {
      if (isSkeinError(error, 'ERR_STOPPED')) return undefined
      throw error
    }
  }

  async #begin(before: WorkerProcess | undefined): Promise<void> {
    const { onBug, settled } = this.#init
    await before?.gone
    if (!this.#wanted || this.#life !== undefined) return
    const process = new WorkerProcess({
      onNotice: (notice) => this.#hear(life, notice),
      onExit: (text) => this.#exited(life, text)
    })
    const life: OwnLife = {
      engine: new RemoteEngine(process, { settled, onListenerError: onBug }),
      process,
      clock: systemClock,
      born: Promise.resolve(),
      alive: true,
      up: false,
      stopping: false
    }
    this.#life = life
    this.#process = process
    life.born = this.#bear(life)
    await life.born
  }

  async #bear(life: OwnLife): Promise<void> {
    try {
      const options = await this.#init.options()
      const { outbox, peer } = await life.process.call('start', options)
      if (!life.alive) return
      this.#init.onBorn(peer)
      life.engine.outboxIs(outbox)
    } catch (error) {
      // Killed meanwhile, or its end was told of already.
      if (!life.alive) return
      throw error
    }
    if (life.stopping) return
    life.up = true
    this.#init.onUp(life)
  }

  async #end(life: OwnLife): Promise<void> {
    life.stopping = true
    life.up = false
    await life.born
    if (!life.alive) return
    await this.#ended(life)
    if (!life.alive) return
    this.#bury(life)
    this.#init.onDown('stop')
    if (this.#wanted) this.start()
  }

  async #ended(life: OwnLife): Promise<void> {
    try {
      await life.process.call('stop', {})
    } catch (error) {
      // Killed while it was stopping.
      if (life.alive) throw error
    }
  }

  #kill(life: OwnLife): void {
    this.#bury(life)
    life.process.kill()
    this.#init.onDown('crash')
  }

  #bury(life: OwnLife): void {
    life.alive = false
    life.up = false
    this.#life = undefined
    this.#paused = false
    this.#init.onConnected([])
  }

  #hear(life: OwnLife, notice: Exclude<Notice, { say: 'alive' }>): void {
    if (!life.alive) return
    if (notice.say === 'connected') this.#init.onConnected(notice.peers)
    else if (notice.say === 'failed') this.#init.onBug(this.#fault(notice.text))
    else life.engine.hear(notice)
  }

  #exited(life: OwnLife, text: string): void {
    if (!life.alive) return
    this.#kill(life)
    this.#init.onBug(this.#fault(text))
  }

  #fault(text: string): SkeinError {
    return new SkeinError('ERR_INTERNAL', `node '${this.name}' ended by itself: ${text}`)
  }

  #guard(work: Promise<void>): void {
    work.catch((error: unknown) => this.#init.onBug(error))
  }
}

function notReal(): SkeinError {
  return new SkeinError('ERR_INTERNAL', 'a fault that no real process can be made to suffer')
}
