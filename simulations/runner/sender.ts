import { isSkeinError, toSkeinError } from '../../src/core/errors.ts'
import type { Random } from '../../src/core/random.ts'
import type { SendLoad } from '../scenario/contract.ts'
import { fillTopic } from '../scenario/topic-pattern.ts'
import type { Life, RunNode, RunTime } from './contract.ts'
import type { Letters } from './letters.ts'
import { drawSize, type Occupant } from './population.ts'
import { payloadOf } from './publisher.ts'
import type { Recorder } from './recorder.ts'
import { schedule } from './rhythm.ts'

export interface SenderComponents {
  readonly time: RunTime
  readonly recorder: Recorder
  readonly random: Random
  readonly letters: Letters
}

/** One node's share of a load of inbox messages, to one recipient. */
export function startSender(
  components: SenderComponents,
  node: RunNode,
  { load, to }: { readonly load: SendLoad; readonly to: string }
): void {
  schedule(components.time, load, (k) => {
    const size = drawSize(components.random, load.size)
    const life = node.working
    if (life !== undefined) void send(components, { node, life, load, to, n: k + 1, size })
  })
}

interface Sending {
  readonly node: RunNode
  readonly life: Life
  readonly load: SendLoad
  readonly to: string
  readonly n: number
  readonly size: number
}

async function send(
  { letters, recorder }: SenderComponents,
  { life, load, n, node, size, to }: Sending
): Promise<void> {
  const peer = recorder.peerOf(to)
  if (peer === undefined) return
  const topic = fillTopic(load.topic, node.name, n)
  const { custodians, ttlMs } = load
  const payload = payloadOf(node.name, n, size)
  try {
    const sent = await life.engine.inbox.send(peer, { topic, payload, custodians, ttlMs })
    if (!life.alive) return
    letters.sent(sent.id, { from: node.name, to, topic })
    sent.delivered.then(
      () => {
        if (life.alive) letters.finished(sent.id, 'receipt')
      },
      (error: unknown) => {
        // Stopped first: the next life knows more.
        if (life.alive && isSkeinError(error, 'ERR_TIMEOUT'))
          letters.finished(sent.id, 'unreceived')
      }
    )
  } catch (error) {
    if (!life.alive) return
    recorder.add({ kind: 'rejected', node: node.name, code: toSkeinError(error).code })
  }
}

/** Follows what earlier lives of a node have sent: whose promises are gone with them. */
export class OutboxWatch implements Occupant {
  readonly #letters: Letters
  readonly #node: string

  constructor(letters: Letters, node: string) {
    this.#letters = letters
    this.#node = node
  }

  up(life: Life): void {
    const { outbox, receipts } = life.engine.inbox
    const earlier = new Set(this.#letters.waitingOf(this.#node))
    if (earlier.size === 0) return
    outbox.events.on('expired', ({ id }) => {
      if (life.alive && earlier.delete(id)) this.#letters.finished(id, 'unreceived')
    })
    const look = (): void => {
      if (earlier.size === 0 || !life.alive) return
      const waiting = new Set(outbox.list().map(({ id }) => id))
      for (const id of earlier) {
        if (waiting.has(id)) continue
        earlier.delete(id)
        this.#letters.finished(id, 'receipt')
      }
    }
    receipts.events.on('received', look)
    look()
  }

  down(): void {}
}
