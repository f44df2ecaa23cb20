import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import type { RunNetwork } from '../runner/contract.ts'
import type { NetworkBase } from '../scenario/contract.ts'
import type { Impairment, LinkSet } from '../scenario/step.ts'
import { type LinkConditions, Impairments } from '../world/link-conditions.ts'
import type { LaneComponents } from './lane.ts'
import { Proxy } from './proxy.ts'

/** Where a node listens, and how it reaches the others. */
export interface Place {
  readonly listen: string
  /** Leads nowhere: what others hear of a node must not lead them past the proxies. */
  readonly announce: string
  /** The proxies to all others. */
  readonly join: readonly string[]
}

/** Loopback with a proxy from each node to each other. */
export class ProxiedNetwork implements RunNetwork {
  readonly #components: LaneComponents
  readonly #impairments: Impairments
  readonly #nowhere = createServer((socket) => socket.destroy())
  readonly #ports = new Map<string, number>()
  readonly #proxies = new Map<string, Map<string, Proxy>>()
  /** Names that each node says it is connected with. */
  readonly #connected = new Map<string, ReadonlySet<string>>()

  constructor(components: LaneComponents, base: NetworkBase) {
    this.#components = components
    this.#impairments = new Impairments(base)
  }

  async start(names: readonly string[]): Promise<void> {
    this.#nowhere.listen(0, '127.0.0.1')
    await once(this.#nowhere, 'listening')
    for (const name of names) this.#ports.set(name, 0)
    for (const from of names) {
      const proxies = new Map<string, Proxy>()
      this.#proxies.set(from, proxies)
      for (const to of names) if (to !== from) proxies.set(to, await this.#open(from, to))
    }
  }

  async stop(): Promise<void> {
    const proxies = this.#all()
    this.#proxies.clear()
    this.#nowhere.close()
    await Promise.all(proxies.map((proxy) => proxy.stop()))
  }

  /**
   * For one life of a node. A node that announces something else says nothing of the port it listens on, so it is
   * chosen for it; the proxies lead there from now on.
   */
  async place(name: string): Promise<Place> {
    const proxies = [...(this.#proxies.get(name)?.values() ?? [])]
    let port = await freePort()
    while ([...this.#ports.values()].includes(port)) port = await freePort()
    this.#ports.set(name, port)
    return {
      listen: addressOf(port),
      announce: addressOf((this.#nowhere.address() as AddressInfo).port),
      join: proxies.map((proxy) => addressOf(proxy.port))
    }
  }

  impair(id: number, links: LinkSet, impairment: Impairment): void {
    this.#impairments.add(id, links, impairment)
    for (const proxy of this.#all()) proxy.change()
  }

  repair(id: number): void {
    this.#impairments.delete(id)
    for (const proxy of this.#all()) proxy.change()
  }

  /** A node says with whom it is connected; nobody, when it is down. */
  connected(name: string, others: Iterable<string>): void {
    this.#connected.set(name, new Set(others))
  }

  /** Pairs of which both say that they are connected. */
  topology(): ReadonlyArray<readonly [string, string]> {
    const names = [...this.#ports.keys()]
    const says = (one: string, other: string): boolean =>
      this.#connected.get(one)?.has(other) === true
    return names.flatMap((one, place) =>
      names
        .slice(place + 1)
        .filter((other) => says(one, other) && says(other, one))
        .map((other) => [one, other] as const)
    )
  }

  async #open(from: string, to: string): Promise<Proxy> {
    const proxy = new Proxy(this.#components, {
      port: () => this.#ports.get(to) ?? 0,
      there: this.#conditions(from, to),
      back: this.#conditions(to, from)
    })
    await proxy.start()
    return proxy
  }

  /** Looked up again only when something has changed: it is asked for with every piece of data. */
  #conditions(from: string, to: string): () => LinkConditions {
    let version = -1
    let conditions: LinkConditions
    return () => {
      if (version !== this.#impairments.version) {
        version = this.#impairments.version
        conditions = this.#impairments.between(from, to)
      }
      return conditions
    }
  }

  #all(): Proxy[] {
    return [...this.#proxies.values()].flatMap((proxies) => [...proxies.values()])
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

const addressOf = (port: number): string => `/ip4/127.0.0.1/tcp/${port}`
