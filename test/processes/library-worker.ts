// A node of the library in a process of its own, as library-node.ts asks for it over IPC.
import { createHash, type Hash } from 'node:crypto'
import type * as skein from '../../src/index.ts'
import type { Command, Log, Report, Request, Tally } from './library-node.ts'

const [library = ''] = process.argv.slice(2)
const { createNode } = (await import(library)) as typeof skein

/** Unconfirmed at once: enough for full batches, and far below what a node holds. */
const WINDOW = 2048
/** Samples of latency that are kept. */
const SAMPLES = 1_000_000

interface LogState {
  readonly hash: Hash | undefined
  count: number
  last: number
}

/** What one subscription got. */
class Account {
  readonly #logs = new Map<string, LogState>()
  readonly #digests: boolean
  readonly #latencies: number[] = []
  #handed = 0
  #repeated = 0
  #jumps = 0
  #late = 0
  #firstAt = 0
  #lastAt = 0

  // Of the message before: joining and hashing the key each time takes as long as a hand-over.
  #publisher = ''
  #session = ''
  #key = ''

  constructor(digests: boolean) {
    this.#digests = digests
  }

  add(message: skein.Message, timed: boolean): void {
    const now = Date.now()
    if (this.#handed === 0) this.#firstAt = now
    this.#handed++
    this.#lastAt = now
    if (timed && this.#latencies.length < SAMPLES) {
      this.#latencies.push(monotonic() - Buffer.from(message.payload).readDoubleLE())
    }
    const { publisher, session } = message
    const isSame = publisher === this.#publisher && session === this.#session
    const key = isSame ? this.#key : `${publisher}/${session}`
    if (!isSame) [this.#publisher, this.#session, this.#key] = [publisher, session, key]
    let log = this.#logs.get(key)
    if (log === undefined) {
      log = { hash: this.#digests ? createHash('sha256') : undefined, count: 0, last: 0 }
      this.#logs.set(key, log)
    }
    if (message.late) this.#late++
    if (message.sequence <= log.last) {
      this.#repeated++
      return
    }
    if (message.sequence !== log.last + 1) this.#jumps++
    log.last = message.sequence
    log.count++
    log.hash?.update(message.payload)
  }

  tally(): Tally {
    const logs: Record<string, Log> = {}
    for (const [key, { count, hash, last }] of this.#logs) {
      logs[key] = { count, last, digest: hash?.copy().digest('hex') ?? '' }
    }
    return {
      handed: this.#handed,
      repeated: this.#repeated,
      jumps: this.#jumps,
      late: this.#late,
      firstAt: this.#firstAt,
      lastAt: this.#lastAt,
      logs
    }
  }

  /** Takes them away. */
  latencies(): number[] {
    return this.#latencies.splice(0)
  }
}

/** One clock for all processes of the machine, ms. */
function monotonic(): number {
  return Number(process.hrtime.bigint()) / 1e6
}

let node: skein.SkeinNode | undefined
const accounts = new Map<string, Account>()

function running(): skein.SkeinNode {
  if (node === undefined) throw new Error('the node has not been started')
  return node
}

function account(name: string): Account {
  const found = accounts.get(name)
  if (found === undefined) throw new Error(`nobody subscribed as '${name}'`)
  return found
}

async function subscribe(command: Extract<Command, { op: 'subscribe' }>): Promise<void> {
  const { filter, name, options, say, timed } = command
  const mine = new Account(command.digests !== false)
  accounts.set(name, mine)
  const subscription = running().subscribe(filter, options)
  subscription.events.on('gap', ({ channel, from, publisher, reason, session, to }) =>
    report({ event: 'gap', name, channel, publisher, session, from, to, reason })
  )
  if (say === true) void sayEach(subscription, name)
  else subscription.onMessage((message) => mine.add(message, timed === true))
  await subscription.ready
}

/** Tells of each message before it is acknowledged, and of each acknowledgement once it is written. */
async function sayEach(subscription: skein.Subscription, name: string): Promise<void> {
  for await (const message of subscription) {
    const { attempt, id, late } = message
    // Acknowledged before it is on its way, a message would be handed over and nobody would know.
    await new Promise<void>((resolve) =>
      process.send?.(
        { event: 'handed', name, id, attempt, late } satisfies Report,
        undefined,
        {},
        () => resolve()
      )
    )
    message.ack().then(
      () => report({ event: 'acked', name, id }),
      (error: unknown) => report({ event: 'error', text: String(error) })
    )
  }
}

/** The message's number and the time, then filling. */
function payloadOf(bytes: number): Buffer {
  const payload = Buffer.alloc(Math.max(8, bytes), 'x')
  payload.writeDoubleLE(monotonic())
  return payload
}

async function publish(command: Extract<Command, { op: 'publish' }>): Promise<{ ms: number }> {
  const { bytes, count, perSecond, say, topic } = command
  const startedAt = performance.now()
  let waiting = 0
  let failed: Error | undefined
  let wake = (): void => {}
  for (let i = 0; i < count && failed === undefined; i++) {
    if (perSecond !== undefined) await until(startedAt + (i * 1000) / perSecond)
    else if (waiting >= WINDOW) await new Promise<void>((resolve) => (wake = resolve))
    waiting++
    running()
      .publish(topic, payloadOf(bytes))
      .then(
        ({ id }) => {
          if (say === true) report({ event: 'confirmed', id, topic })
        },
        (error: Error) => (failed = error)
      )
      .finally(() => {
        waiting--
        wake()
      })
  }
  while (waiting > 0) await new Promise<void>((resolve) => (wake = resolve))
  if (failed !== undefined) throw failed
  return { ms: performance.now() - startedAt }
}

async function until(at: number): Promise<void> {
  const ms = at - performance.now()
  if (ms > 0) await new Promise((resolve) => setTimeout(resolve, ms))
}

async function perform(command: Command): Promise<unknown> {
  if (command.op === 'start') {
    node = await createNode(command.options)
    return { peerId: node.peerId, addresses: node.status().addresses }
  }
  if (command.op === 'subscribe') return subscribe(command)
  if (command.op === 'publish') return publish(command)
  if (command.op === 'tally') return account(command.name).tally()
  if (command.op === 'latencies') return account(command.name).latencies()
  if (command.op === 'connected') return running().status().peers.connected
  if (command.op === 'members') {
    return running()
      .peers()
      .filter(({ channels, connected }) => connected && channels.includes(command.channel)).length
  }
  if (command.op === 'topics') return running().topics()
  if (command.op === 'metrics') return running().metrics()
  if (command.op === 'memory') {
    // What nobody refers to any more is not what it holds.
    if (command.collect) gc?.()
    return process.memoryUsage()
  }
  await node?.stop()
  return undefined
}

function report(message: Report): void {
  process.send?.(message)
}

process.on('disconnect', () => process.exit())
process.on('message', (request: Request) => {
  perform(request.command).then(
    (answer) => report({ event: 'answer', id: request.id, answer }),
    (error: unknown) =>
      report({ event: 'refused', id: request.id, text: String((error as Error).stack) })
  )
})
report({ event: 'alive' })
