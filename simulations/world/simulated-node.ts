import { steadyClock } from '../../src/core/clock.ts'
import { isSkeinError } from '../../src/core/errors.ts'
import type { Logger } from '../../src/core/logger.ts'
import type { Random } from '../../src/core/random.ts'
import { Engine } from '../../src/node/engine.ts'
import { DEFAULT_RETENTION } from '../../src/node/options.ts'
import { completeRetention } from '../../src/node/retention.ts'
import { createStore } from '../../src/store/level-store.ts'
import { agreementKeyFromSeed } from '../../src/wire/hpke.ts'
import { createSigner, SEED_BYTES } from '../../src/wire/signature.ts'
import type { ScenarioNode } from '../scenario/contract.ts'
import type { NodeClock, VirtualDisk, VirtualNetwork, VirtualTime } from './contract.ts'
import type { SharedRecords } from './shared-records.ts'
import type { SharedSignatures } from './shared-signatures.ts'

export interface SimulatedNodeComponents {
  readonly time: VirtualTime
  readonly network: VirtualNetwork
  /** Its own, so that what other nodes draw changes nothing here. */
  readonly random: Random
  readonly logger: Logger
  /** A new, empty disk. */
  readonly createDisk: () => VirtualDisk
  readonly signatures: SharedSignatures
  readonly records: SharedRecords
}

export interface SimulatedNodeInit {
  readonly node: ScenarioNode
  /** See `EngineInit.presenceIntervalMs`. */
  readonly presenceIntervalMs?: number | undefined
  /** See `UpkeepInit.scrubBytes`. */
  readonly scrubBytes?: number | undefined
  /** A life has an identity; it is not open for work yet. */
  readonly onBorn: (peer: string) => void
  /** A life is open for work. */
  readonly onUp: (life: Life) => void
  readonly onDown: (how: 'stop' | 'crash' | 'power-loss') => void
  /** Something failed that has no place in a run: a fault of the code, not of the world. */
  readonly onBug: (error: unknown) => void
}

/** One life of a node, from its start to its stop or death. */
export interface Life {
  /** Counts from 1. */
  readonly number: number
  readonly engine: Engine
  readonly clock: NodeClock
  /** False from the moment it is killed or has stopped: nothing that it still says counts. */
  readonly alive: boolean
  /** Open for work: started, and not stopping. */
  readonly up: boolean
}

interface OwnLife extends Life {
  readonly born: Promise<boolean>
  alive: boolean
  up: boolean
  stopping: boolean
}

/** What a supervisor waits before it starts a process again that ended by itself, ms. */
const RESPAWN_MS = 1000

/** One node of a simulated world: a disk, and one life after the other. Everything it does is of its own clock. */
export class SimulatedNode {
  readonly name: string
  readonly #components: SimulatedNodeComponents
  readonly #init: SimulatedNodeInit
  #seed: Uint8Array
  #disk: VirtualDisk
  #diskState = { full: false, latencyMs: 0 }
  #skewMs: number
  #life: OwnLife | undefined
  #lives = 0
  #wanted = false
  #paused = false

  constructor(components: SimulatedNodeComponents, init: SimulatedNodeInit) {
    this.#components = components
    this.#init = init
    this.name = init.node.name
    this.#skewMs = init.node.clockSkewMs
    this.#seed = components.random.bytes(SEED_BYTES)
    this.#disk = components.createDisk()
  }

  /** The present life, while it is open for work and not paused. */
  get working(): Life | undefined {
    return this.#life?.up === true && !this.#paused ? this.#life : undefined
  }

  /** The present life, while it is open for work, paused or not. */
  get life(): Life | undefined {
    return this.#life?.up === true ? this.#life : undefined
  }

  /** What its process holds in memory, estimated from what it counts itself, bytes. */
  memoryBytes(tailBytes: number): number {
    const life = this.#life
    if (life === undefined) return 0
    const { publisher, store, transport } = life.engine
    const logs = store.logs().length * LOG_BYTES
    const tail = Math.min(tailBytes, store.usage().bytes)
    return logs + tail + publisher.backlogBytes + transport.stats().bufferedBytes
  }

  /** Has no effect while it runs; one that is stopping starts again when it has stopped. */
  start(): void {
    this.#wanted = true
    if (this.#life === undefined) this.#begin()
  }

  /** In order, as at SIGTERM; a frozen one is thawed first. */
  stop(): void {
    this.#wanted = false
    this.resume()
    const life = this.#life
    if (life !== undefined && !life.stopping) this.#guard(this.#end(life))
  }

  /** At once. */
  crash(unsynced: 'keep' | 'lose' | 'torn'): void {
    this.#wanted = false
    const life = this.#life
    if (life === undefined) return
    this.#bury(life)
    this.#components.network.kill(life.engine.transport.self.id)
    this.#disk.crash(unsynced)
    this.#init.onDown(unsynced === 'keep' ? 'crash' : 'power-loss')
  }

  pause(): void {
    const life = this.#life
    if (life === undefined || this.#paused) return
    this.#paused = true
    this.#components.network.pause(life.engine.transport.self.id)
    life.clock.pause()
  }

  resume(): void {
    const life = this.#life
    if (life === undefined || !this.#paused) return
    this.#paused = false
    this.#components.network.resume(life.engine.transport.self.id)
    life.clock.resume()
  }

  skew(ms: number): void {
    this.#skewMs = ms
    this.#life?.clock.skew(ms)
  }

  setDisk(state: { readonly full: boolean; readonly latencyMs: number }): void {
    this.#diskState = state
    this.#disk.setFull(state.full)
    this.#disk.setLatency(state.latencyMs)
  }

  corrupt(bits: number): void {
    this.#disk.corrupt(bits)
  }

  /** The end of the world: nothing of it acts any more. */
  vanish(): void {
    this.#wanted = false
    const life = this.#life
    if (life !== undefined) this.#bury(life)
  }

  #begin(): void {
    if (this.#lives > 0 && this.#init.node.disk.kind === 'memory') this.#forgetAll()
    const { network, random, time } = this.#components
    const clock = time.clock({ skewMs: this.#skewMs })
    this.#disk.attach(clock)
    const transport = network.transport({ name: this.name, privateKey: this.#seed, clock })
    const steady = steadyClock(clock)
    const { logger, signatures } = this.#components
    const retention = completeRetention(() => ({
      ...DEFAULT_RETENTION,
      ...this.#init.node.retention
    }))
    const store = createStore(
      { ...diskOf(this.#disk), clock: steady, random, logger },
      { retention }
    )
    const engine = new Engine(
      {
        store,
        transport,
        clock: steady,
        machineClock: clock,
        random,
        logger,
        signer: signatures.signer(createSigner(this.#seed)),
        agreementKey: agreementKeyFromSeed(this.#seed),
        ...this.#components.records
      },
      this.#engineInit(retention)
    )
    const life: OwnLife = {
      number: ++this.#lives,
      engine,
      clock,
      alive: true,
      up: false,
      stopping: false,
      born: engine.start().then(
        () => true,
        (error: unknown) => this.#stillborn(error)
      )
    }
    this.#life = life
    this.#init.onBorn(transport.self.id)
    store.events.on('condition', ({ condition }) => {
      if (condition === 'broken' && life.up) this.#guard(this.#fail(life))
    })
    this.#guard(this.#live(life))
  }

  #engineInit(retention: ConstructorParameters<typeof Engine>[1]['retention']) {
    const { node, presenceIntervalMs, scrubBytes } = this.#init
    const remembers = node.disk.kind === 'disk'
    return {
      name: node.name,
      retention,
      keep: node.keep,
      custodian: node.custodian ?? remembers,
      remembers,
      presenceIntervalMs,
      scrubBytes
    }
  }

  async #live(life: OwnLife): Promise<void> {
    const born = await life.born
    if (!life.alive || life.stopping) return
    if (!born) return this.#fail(life)
    life.up = true
    this.#init.onUp(life)
  }

  #stillborn(error: unknown): false {
    this.#components.logger.warn({ err: error, node: this.name }, 'a node did not start')
    if (!isSkeinError(error)) this.#init.onBug(error)
    return false
  }

  /** Ended by itself: whoever looks after it starts it again. */
  async #fail(life: OwnLife): Promise<void> {
    if (life.stopping) return
    await this.#end(life, false)
    this.#components.time.schedule(RESPAWN_MS, () => {
      if (this.#wanted && this.#life === undefined) this.#begin()
    })
  }

  async #end(life: OwnLife, again = true): Promise<void> {
    life.stopping = true
    life.up = false
    await life.born
    if (!life.alive) return
    await life.engine.stop()
    if (!life.alive) return
    this.#bury(life)
    this.#init.onDown('stop')
    if (again && this.#wanted) this.#begin()
  }

  #bury(life: OwnLife): void {
    life.alive = false
    life.up = false
    life.clock.kill()
    this.#life = undefined
    this.#paused = false
  }

  /** Without a data directory a new life is a new node: other keys, an empty store. */
  #forgetAll(): void {
    this.#seed = this.#components.random.bytes(SEED_BYTES)
    this.#disk = this.#components.createDisk()
    this.setDisk(this.#diskState)
  }

  #guard(work: Promise<void>): void {
    work.catch((error: unknown) => this.#init.onBug(error))
  }
}

/** What one log takes in memory, about. */
const LOG_BYTES = 512

function diskOf(disk: VirtualDisk): Pick<VirtualDisk, 'openLevel' | 'freeSpace' | 'probeSpace'> {
  return {
    openLevel: () => disk.openLevel(),
    freeSpace: async () => disk.freeSpace?.(),
    probeSpace: async (bytes) => disk.probeSpace?.(bytes)
  }
}
