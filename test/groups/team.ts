import type { TestContext } from 'vitest'
import type { Message, SubscribeOptions, Subscription } from '../../src/delivery/contract.ts'
import { outgoing } from '../../src/node/outgoing.ts'
import { EngineMesh, type MeshNode } from '../fixtures/engine-mesh.ts'
import { eventually as within } from '../processes/skein-process.ts'

/** A busy machine takes its time. */
export const eventually = (condition: () => Promise<boolean> | boolean) =>
  within(condition, { timeoutMs: 50_000 })

/** A mesh of its own for each test: they wait for time to pass more than they work, so they run side by side. */
export function meshOf(context: TestContext): EngineMesh {
  const mesh = new EngineMesh()
  context.onTestFinished(() => mesh.stop())
  return mesh
}

interface Handed {
  readonly by: string
  readonly text: string
  readonly key: string | undefined
  readonly message: Message
}

/** Everything that members of one group were handed, in the order in which that happened. */
export class Team {
  readonly handed: Handed[] = []
  /** Texts acknowledged, by whoever. */
  readonly done: string[] = []
  /** What members do not acknowledge. */
  readonly kept = new Set<string>()

  async join(node: MeshNode, by: string, options: SubscribeOptions = {}): Promise<Subscription> {
    const subscription = node.group('jobs/#', 'billing', options)
    subscription.onMessage((message) => {
      const text = message.text()
      this.handed.push({ by, text, key: message.key, message })
      // Kept in hand until the test lets go of it.
      return this.kept.has(by) ? new Promise<void>(() => undefined) : this.#done(message, text)
    })
    await subscription.ready
    return subscription
  }

  async #done(message: Message, text: string): Promise<void> {
    await message.ack()
    this.done.push(text)
  }

  get texts(): string[] {
    return this.handed.map(({ text }) => text)
  }

  async all(texts: readonly string[]): Promise<void> {
    await eventually(() => texts.every((text) => this.done.includes(text)))
  }
}

/** Resolves when these, and no others, share all slots. */
export async function shared(nodes: readonly MeshNode[]): Promise<void> {
  await eventually(async () => {
    for (const node of nodes) {
      const [group] = await node.engine.groups.list()
      const owners = group?.members.filter(({ slots }) => slots > 0) ?? []
      const slots = owners.reduce((sum, member) => sum + member.slots, 0)
      if (slots !== 256 || owners.length !== nodes.length) return false
      if (owners.some(({ peerId }) => nodes.every(({ id }) => id !== peerId))) return false
    }
    return true
  })
}

export const publish = (node: MeshNode, text: string, key: string | undefined) =>
  node.engine.publisher.publish(
    outgoing('jobs/new', text, key === undefined ? {} : { key }, 192 * 1024),
    'stored'
  )
