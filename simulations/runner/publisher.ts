import { toSkeinError } from '../../src/core/errors.ts'
import { LIMITS } from '../../src/core/limits.ts'
import type { Random } from '../../src/core/random.ts'
import { outgoing } from '../../src/node/outgoing.ts'
import type { PublisherLoad } from '../scenario/contract.ts'
import { fillTopic } from '../scenario/topic-pattern.ts'
import type { Life, RunNode, RunTime } from './contract.ts'
import type { Excuses } from './excuses.ts'
import { contentOf } from './content.ts'
import { drawSize } from './population.ts'
import type { Recorder } from './recorder.ts'
import { schedule } from './rhythm.ts'

export interface PublisherComponents {
  readonly time: RunTime
  readonly recorder: Recorder
  readonly random: Random
  readonly excuses: Excuses
}

/** One node's share of a load: what falls into a time in which it is down or paused is not made up for. */
export function startPublisher(
  components: PublisherComponents,
  node: RunNode,
  load: PublisherLoad
): void {
  const { random, time } = components
  schedule(time, load, (k) => {
    // Drawn whether it is sent or not: what one node misses must not change the rest.
    const size = drawSize(random, load.size)
    const life = node.working
    if (life !== undefined) void publish(components, { node, life, load, n: k + 1, size })
  })
}

interface Publication {
  readonly node: RunNode
  readonly life: Life
  readonly load: PublisherLoad
  readonly n: number
  readonly size: number
}

async function publish(
  { excuses, recorder }: PublisherComponents,
  { life, load, n, node, size }: Publication
): Promise<void> {
  const topic = fillTopic(load.topic, node.name, n)
  const key = load.key === undefined ? undefined : fillTopic(load.key, node.name, n)
  const message = outgoing(
    topic,
    payloadOf(node.name, n, size),
    { key, ttlMs: load.ttlMs },
    LIMITS.payloadBytes
  )
  try {
    const { id } = await life.engine.publisher.publish(message, load.confirm)
    if (!life.alive) return
    const ref = recorder.ref(id)
    // What was only handed to the network is promised to nobody.
    if (load.confirm === 'sent') return
    recorder.add({
      kind: 'confirmed',
      message: ref,
      topic,
      content: contentOf(topic, message.payload)
    })
    excuses.confirmed(ref, { topic, key, ttlMs: load.ttlMs })
  } catch (error) {
    if (!life.alive) return
    recorder.add({ kind: 'rejected', node: node.name, code: toSkeinError(error).code })
  }
}

/** Text that says whose message it is, cut or filled up to the size. */
export function payloadOf(node: string, n: number, size: number): Uint8Array {
  const bytes = Buffer.alloc(size, 0x2e)
  bytes.write(`${node} ${n} `)
  return bytes
}
