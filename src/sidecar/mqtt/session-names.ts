import { createHash } from 'node:crypto'
import type { SkeinNode } from '../../node/contract.ts'

export type Qos = 0 | 1 | 2

/** A topic filter that a persistent session has, and the durable subscription that keeps it. */
export interface KeptFilter {
  readonly filter: string
  readonly qos: Qos
  readonly name: string
}

/** With these, any name fits the 64 bytes that a durable subscription's may have. */
const ID_BYTES = 24
const FILTER_BYTES = 30
/** Of a digest; no plain text has a '~'. */
const DIGEST_CHARACTERS = 22

function encode(text: string, most: number): string {
  const encoded = encodeURIComponent(text).replaceAll('~', '%7E')
  if (encoded.length <= most) return encoded
  const digest = createHash('sha256').update(text).digest('base64url')
  return `~${digest.slice(0, DIGEST_CHARACTERS)}`
}

/** What the names of all durable subscriptions of a client begin with. */
function prefixOf(clientId: string): string {
  return `mqtt:${encode(clientId, ID_BYTES)}:`
}

/** Name of the durable subscription of a client for a filter. The filter is registered with it, the QoS stands here. */
export function nameOf(clientId: string, filter: string, qos: Qos): string {
  return `${prefixOf(clientId)}${encode(filter, FILTER_BYTES)}:${qos}`
}

/**
 * Which persistent sessions have which filters. It is read from the node's durable subscriptions, whose names tell
 * it, so that it is as lasting as they are.
 */
export class KeptFilters {
  readonly #byPrefix = new Map<string, Map<string, KeptFilter>>()

  /** Filters of all sessions. */
  get size(): number {
    let size = 0
    for (const filters of this.#byPrefix.values()) size += filters.size
    return size
  }

  /** Reads what the node has registered. */
  async load(node: Pick<SkeinNode, 'subscriptions'>): Promise<void> {
    for (const { durable, filter } of await node.subscriptions()) {
      const match = /^(mqtt:[^:]*:)[^:]*:([012])$/.exec(durable ?? '')
      if (match === null) continue
      const qos = Number(match[2]) as Qos
      this.#add(match[1] as string, { filter, qos, name: durable as string })
    }
  }

  of(clientId: string): readonly KeptFilter[] {
    return [...(this.#byPrefix.get(prefixOf(clientId))?.values() ?? [])]
  }

  find(clientId: string, filter: string): KeptFilter | undefined {
    return this.#byPrefix.get(prefixOf(clientId))?.get(filter)
  }

  add(clientId: string, kept: KeptFilter): void {
    this.#add(prefixOf(clientId), kept)
  }

  remove(clientId: string, filter: string): void {
    const prefix = prefixOf(clientId)
    const filters = this.#byPrefix.get(prefix)
    filters?.delete(filter)
    if (filters?.size === 0) this.#byPrefix.delete(prefix)
  }

  #add(prefix: string, kept: KeptFilter): void {
    const filters = this.#byPrefix.get(prefix) ?? new Map<string, KeptFilter>()
    this.#byPrefix.set(prefix, filters)
    filters.set(kept.filter, kept)
  }
}
