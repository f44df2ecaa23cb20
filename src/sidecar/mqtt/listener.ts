import { createHash, timingSafeEqual } from 'node:crypto'
import { type AddressInfo, type Server, type Socket, createServer } from 'node:net'
import type { Aedes, Client } from 'aedes'
import { SkeinError } from '../../core/errors.ts'
import type { Lifecycle } from '../../core/lifecycle.ts'
import { LIMITS } from '../../core/limits.ts'
import type { Logger } from '../../core/logger.ts'
import type { SkeinNode } from '../../node/contract.ts'
import { isLoopback } from '../access/access.ts'
import type { Figures } from '../figures.ts'
import { connectRefusal, createBroker } from './broker.ts'
import { MqttConnection } from './connection.ts'
import { type Closing, type MqttFigures, createMqttFigures } from './metrics.ts'
import { MqttPublisher } from './publisher.ts'
import { RetainedValues } from './retained.ts'
import { Sessions } from './sessions.ts'

export interface MqttListenerComponents {
  readonly node: SkeinNode
  readonly logger: Logger
  /** Takes what is counted. */
  readonly figures: Figures
}

export interface MqttListenerInit {
  /** Address to listen on. */
  readonly host: string
  /** 0: any free port. */
  readonly port: number
  /** The password of every client; undefined only with `insecure`. */
  readonly token: string | undefined
  /** No password is asked for; on loopback only. */
  readonly insecure: boolean
}

/** The MQTT 3.1.1 door of a node. */
export interface MqttListener extends Lifecycle {
  /** Where it listens, as `host:port`. Throws ERR_STOPPED before `start`. */
  readonly address: string
}

const digest = (text: string | Buffer): Buffer => createHash('sha256').update(text).digest()

class AedesListener implements MqttListener {
  readonly #components: MqttListenerComponents
  readonly #init: MqttListenerInit
  readonly #expected: Buffer | undefined
  readonly #figures: MqttFigures
  readonly #sessions: Sessions
  readonly #publisher: MqttPublisher
  readonly #broker: Aedes
  readonly #server: Server
  readonly #connections = new Set<MqttConnection>()
  readonly #retained: RetainedValues
  #address: AddressInfo | undefined
  #stopped: Promise<void> | undefined

  constructor(components: MqttListenerComponents, init: MqttListenerInit) {
    assertInit(init)
    const { logger, node } = components
    this.#components = components
    this.#init = init
    this.#expected = init.token === undefined ? undefined : digest(init.token)
    this.#figures = createMqttFigures(components.figures, () => this.#connections.size)
    this.#retained = new RetainedValues(node)
    const parts = { node, logger, figures: this.#figures }
    this.#sessions = new Sessions({ ...parts, retained: this.#retained })
    this.#publisher = new MqttPublisher({
      ...parts,
      // Who subscribes and publishes in one go expects the message.
      barrier: (source) => this.#sessions.of(source)?.changed()
    })
    this.#broker = createBroker(
      { ...parts, publisher: this.#publisher, sessions: this.#sessions },
      { authenticate: (client, password) => this.#authenticate(client, password) }
    )
    this.#server = createServer({ noDelay: true, keepAlive: true }, (socket) =>
      this.#accept(socket)
    )
    this.#server.maxConnections = LIMITS.mqttConnections
  }

  get address(): string {
    if (this.#address === undefined) {
      throw new SkeinError('ERR_STOPPED', 'The MQTT interface does not listen yet.')
    }
    const { address, port, family } = this.#address
    return `${family === 'IPv6' ? `[${address}]` : address}:${port}`
  }

  async start(): Promise<void> {
    if (this.#address !== undefined) return
    const { host, port } = this.#init
    try {
      await this.#sessions.load()
      await this.#retained.start()
      await this.#broker.listen()
      await new Promise<void>((resolve, reject) => {
        this.#server.once('error', reject)
        this.#server.listen({ host: host === 'localhost' ? '127.0.0.1' : host, port }, () => {
          this.#server.off('error', reject)
          resolve()
        })
      })
    } catch (error) {
      await this.stop()
      if (error instanceof SkeinError) throw error
      const reason = error instanceof Error ? error.message : String(error)
      throw new SkeinError(
        'ERR_LISTEN',
        `The MQTT interface cannot listen on ${host}:${port}: ${reason}; give another --mqtt address.`,
        { cause: error, details: { host, port } }
      )
    }
    this.#server.on('error', (error) => {
      this.#components.logger.error({ err: error }, 'the MQTT interface met an error')
    })
    this.#address = this.#server.address() as AddressInfo
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#close()
    return this.#stopped
  }

  async #close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    // Clients that are there leave with their wills.
    await new Promise<void>((resolve) => this.#broker.close(resolve))
    for (const connection of this.#connections) connection.destroy()
    await closed
    await this.#sessions.left()
    await this.#publisher.settled()
    await this.#retained.stop()
  }

  #accept(socket: Socket): void {
    const connection = new MqttConnection(socket, {
      packetBytes: LIMITS.payloadBytes + LIMITS.mqttHeadBytes,
      connectBytes: LIMITS.mqttConnectBytes,
      onRefused: (reason) => this.#closed(client, reason)
    })
    this.#connections.add(connection)
    const client = this.#broker.handle(connection)
    connection.once('close', () => {
      this.#connections.delete(connection)
      // The broker closes it too: whoever is first.
      client.close()
      this.#sessions.leave(client).catch((error: unknown) => {
        const fields = { err: error, client: client.id }
        this.#components.logger.error(fields, 'a session of an MQTT client was not closed')
      })
    })
  }

  #closed(client: Client, reason: Closing): void {
    this.#figures.closed(reason)
    this.#components.logger.debug({ client: client.id, reason }, 'an MQTT connection was closed')
  }

  async #authenticate(client: Client, password: Buffer | undefined): Promise<void> {
    if (this.#expected !== undefined && !timingSafeEqual(digest(password ?? ''), this.#expected)) {
      this.#closed(client, 'bad password')
      throw connectRefusal(4, 'the password is not the API token')
    }
    await this.#sessions.enter(client)
  }
}

function assertInit({ host, insecure, token }: MqttListenerInit): void {
  if (insecure) {
    if (isLoopback(host)) return
    throw new SkeinError(
      'ERR_OPTIONS',
      `Without a token the MQTT interface may listen on a loopback address only, not on ${host}; leave out --insecure-api or take 127.0.0.1.`,
      { details: { option: 'insecureApi' } }
    )
  }
  if (token !== undefined && token.length > 0) return
  throw new SkeinError('ERR_OPTIONS', 'The MQTT interface needs a token that is not empty.', {
    details: { option: 'token' }
  })
}

/** Builds the MQTT interface of `components.node`. Throws ERR_OPTIONS; `start` rejects with ERR_LISTEN. */
export function createMqttListener(
  components: MqttListenerComponents,
  init: MqttListenerInit
): MqttListener {
  return new AedesListener(components, init)
}
