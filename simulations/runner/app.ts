import { delay } from '../../src/core/clock.ts'
import { LIMITS } from '../../src/core/limits.ts'
import type { Message } from '../../src/delivery/contract.ts'
import type { Data, PublishOptions, Published } from '../../src/node/contract.ts'
import { outgoing } from '../../src/node/outgoing.ts'
import type { Life } from './contract.ts'
import { contentOf } from './content.ts'
import type { Recorder } from './recorder.ts'

/** What an application under test sees of the simulated node that it runs on. */
export interface SimulatedApp {
  /** As the scenario calls the node. */
  readonly name: string
  /** Wall clock of the node, ms since 1970. Take it in place of `Date.now`. */
  now(): number
  /** Waits in simulated time. Nothing else may be waited for but what this object returns. */
  delay(ms: number): Promise<void>
  /** As `SkeinNode.publish`. */
  publish(topic: string, data: Data, options?: PublishOptions): Promise<Published>
}

/**
 * An application's own handler of a subscription. The message is acknowledged when it returns or its promise
 * resolves, and handed over again when it throws or rejects.
 */
export type SimulatedHandler = (message: Message, app: SimulatedApp) => void | Promise<void>

export function createApp(recorder: Recorder, name: string, life: Life): SimulatedApp {
  return {
    name,
    now: () => life.clock.now(),
    delay: (ms) => delay(life.clock, ms),
    async publish(topic, data, options = {}) {
      const { confirm = 'stored', ...rest } = options
      const message = outgoing(topic, data, rest, LIMITS.payloadBytes)
      const published = await life.engine.publisher.publish(message, confirm)
      if (life.alive && confirm !== 'sent') {
        const content = contentOf(topic, message.payload)
        recorder.add({ kind: 'confirmed', message: recorder.ref(published.id), topic, content })
      }
      return published
    }
  }
}
