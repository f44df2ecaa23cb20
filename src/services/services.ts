import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/logger.ts'
import type { Random } from '../core/random.ts'
import type { Transport } from '../mesh/contract.ts'
import type { PeerDirectory } from '../replication/peer-directory.ts'
import { RequestHolder } from './request-holder.ts'
import { Requester } from './requester.ts'
import { Responders } from './responders.ts'
import { ServiceHost } from './service-host.ts'
import { TopologyInquiry } from './topology.ts'

export interface ServicesComponents {
  readonly transport: Pick<Transport, 'blame' | 'events' | 'handle' | 'open' | 'peers' | 'self'>
  readonly directory: Pick<PeerDirectory, 'events' | 'get' | 'list'>
  readonly clock: Clock
  readonly random: Random
  readonly logger: Logger
}

export interface ServicesInit {
  /** What this node serves has changed. */
  readonly onChange: () => void
}

/** Requests and replies: what this node serves, and what it asks of others. */
export class Services {
  readonly host: ServiceHost
  readonly requester: Requester
  readonly topology: TopologyInquiry
  readonly #holder: RequestHolder
  readonly #responders: Responders

  constructor(components: ServicesComponents, init: ServicesInit) {
    const { onChange } = init
    this.host = new ServiceHost(components, { self: components.transport.self.id, onChange })
    const { host } = this
    this.#holder = new RequestHolder({ ...components, host })
    this.#responders = new Responders({ ...components, host })
    this.requester = new Requester({ ...components, responders: this.#responders })
    this.topology = new TopologyInquiry({ ...components, host, requester: this.requester })
  }

  /** After the directory and before the transport. */
  start(): void {
    this.#responders.start()
  }

  /** While the transport still runs, so that what is being handled can be answered. */
  async stop(): Promise<void> {
    await this.host.stop()
    this.requester.stop()
    this.#responders.stop()
    this.#holder.stop()
  }
}
