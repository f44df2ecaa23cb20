/** `publisher` sends, `subscriber` receives; each runs in a process of its own. */
export type Role = 'publisher' | 'subscriber'

/** Settings of the contenders; each adapter reads its own. */
export interface AdapterOptions {
  /** ZeroMQ: encrypt with CURVE. */
  readonly curve?: boolean
  /** Redis: when the append-only file is synced. Undefined: no file. */
  readonly appendSync?: 'always' | 'everysec'
  /** NATS: start JetStream with a file store. */
  readonly jetstream?: boolean
  /** mosquitto: keep the messages of absent sessions and write them to its file. */
  readonly persistence?: boolean
  /** libp2p stream: how long a chunk waits for more, ms. 0: until the event loop's next turn. */
  readonly lingerMs?: number
}

/** What an adapter is told about the cell it takes part in. */
export interface AdapterContext {
  readonly options: AdapterOptions
  /** 0 is the publisher. */
  readonly index: number
  /** Addresses, as `AdapterNode.address` gave them, that this node has to dial. */
  readonly peers: readonly unknown[]
  /** One free port per node, for those that must know them beforehand. */
  readonly ports: readonly number[]
  /** 0 when the contender has no broker. */
  readonly brokerPort: number
  /** A folder of this node's own; removed after the cell. */
  readonly dir: string
  /** The built package of Skein. */
  readonly skeinUrl: string
  /** The folder whose node_modules holds the packages of the competitors. */
  readonly peersDir: string
}

export type OnMessage = (bytes: Uint8Array) => void

/** One started node of one contender. */
export interface AdapterNode {
  /** What other nodes get in `peers`; any structured-cloneable value. */
  readonly address?: unknown
  /** Sends; a promise only if the caller ought to wait. A payload's buffer is never used again by the caller. */
  publish?(payload: Buffer): Promise<unknown> | undefined
  /** Resolves when acknowledged as durable. */
  publishDurable?(payload: Buffer): Promise<unknown>
  /** Asks the one node that serves; resolves when its answer is here. */
  request?(payload: Buffer): Promise<unknown>
  /** Answers every request with what it got. */
  serve?(): Promise<void> | void
  /** Calls back for every message, once each. */
  subscribe?(onMessage: OnMessage): Promise<void> | void
  /** Pushes out what is held back. */
  flush?(): Promise<unknown> | undefined
  /** Closes everything. */
  stop(): Promise<unknown> | void
}

/** How a contender's server is started so that it listens on 127.0.0.1:`port` and keeps its files in `dir`. */
export interface BrokerCommand {
  readonly command: string
  readonly args: readonly string[]
}

export interface BrokerContext {
  /** The compiled bench. */
  readonly build: URL
  readonly options: AdapterOptions
  readonly port: number
  readonly dir: string
}

export interface Adapter {
  start(role: Role, context: AdapterContext): Promise<AdapterNode>
  broker?(context: BrokerContext): BrokerCommand
}
