import { SkeinError } from '../../core/errors.ts'
import type { SkeinNode, Subscription } from '../../node/contract.ts'

/** A topic filter of a client: `$share/<group>/<filter>` is a work group. */
export interface ParsedShare {
  readonly group: string
  readonly filter: string
}

/** Takes `$share/<group>/<filter>` apart; undefined for any other filter. Throws ERR_FILTER. */
export function parseShare(text: string): ParsedShare | undefined {
  if (!text.startsWith('$share/')) return undefined
  const match = /^\$share\/([^/+#]+)\/(.+)$/s.exec(text)
  if (match !== null) return { group: match[1] as string, filter: match[2] as string }
  throw new SkeinError(
    'ERR_FILTER',
    `the filter ${JSON.stringify(text)} is not $share/<group>/<filter>`
  )
}

/** This node's part in one group. */
export interface Shared {
  readonly subscription: Subscription
  /** One client takes no part any more; with the last one, this node does not. */
  readonly leave: () => Promise<void>
}

interface Open extends Shared {
  readonly filter: string
  members: number
}

/**
 * This node's part in work groups that MQTT clients take part in: one subscription each, whichever of its clients
 * asks for it, which is open while one does.
 */
export class SharedGroups {
  readonly #node: Pick<SkeinNode, 'subscribe'>
  readonly #open = new Map<string, Open>()
  /** Being opened or closed. */
  readonly #changing = new Map<string, Promise<unknown>>()

  constructor(node: Pick<SkeinNode, 'subscribe'>) {
    this.#node = node
  }

  /** Resolves when this node is a member. Rejects with what `subscribe` rejects with. */
  async join({ group, filter }: ParsedShare): Promise<Shared> {
    for (let change; (change = this.#changing.get(group)) !== undefined;) await change
    const open = this.#open.get(group)
    if (open === undefined) {
      const opening = this.#start(group, filter)
      this.#change(group, opening)
      return opening
    }
    if (open.filter !== filter) {
      throw new SkeinError(
        'ERR_SUBSCRIPTION_CONFLICT',
        `the group '${group}' has the filter '${open.filter}', not '${filter}'; a group has one filter`
      )
    }
    open.members++
    return open
  }

  async #start(group: string, filter: string): Promise<Open> {
    const subscription = this.#node.subscribe(filter, { group, ack: 'manual' })
    try {
      await subscription.ready
    } catch (error) {
      await subscription.stop()
      throw error
    }
    const open: Open = {
      filter,
      subscription,
      members: 1,
      leave: async () => {
        if (--open.members > 0) return
        forget()
        const closing = subscription.stop()
        this.#change(group, closing)
        await closing
      }
    }
    const forget = (): void => {
      if (this.#open.get(group) === open) this.#open.delete(group)
    }
    subscription.events.on('end', forget)
    this.#open.set(group, open)
    return open
  }

  #change(group: string, change: Promise<unknown>): void {
    const settled = change.then(
      () => {},
      () => {}
    )
    this.#changing.set(group, settled)
    void settled.then(() => {
      if (this.#changing.get(group) === settled) this.#changing.delete(group)
    })
  }
}
