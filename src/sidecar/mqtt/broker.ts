import { callbackify } from 'node:util'
import { Aedes, type AuthenticateError, type Client } from 'aedes'
import { SkeinError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { Logger } from '../../core/logger.ts'
import type { Closing, MqttFigures } from './metrics.ts'
import { MqttPersistence } from './persistence.ts'
import type { IncomingMessage, MqttPublisher } from './publisher.ts'
import type { Qos } from './session-names.ts'
import type { AskedFilter, Sessions } from './sessions.ts'

export interface BrokerComponents {
  readonly sessions: Sessions
  readonly publisher: MqttPublisher
  readonly figures: MqttFigures
  readonly logger: Logger
}

export interface BrokerInit {
  /** Lets a client in. Rejects with what `connectRefusal` makes. */
  readonly authenticate: (client: Client, password: Buffer | undefined) => Promise<void>
}

/** Why a client is not let in, with the return code of its CONNACK. */
export function connectRefusal(returnCode: number, reason: string): AuthenticateError {
  return Object.assign(new Error(reason), { returnCode })
}

/**
 * The broker passes messages on within itself by this. There is nothing to pass on: what clients publish goes to the
 * node before, and comes to them by their subscriptions of the node.
 */
class NoEmitter {
  emit(_packet: object, done?: () => void): void {
    if (done !== undefined) setImmediate(done)
  }

  on(_filter: string, _listener: unknown, done?: () => void): void {
    if (done !== undefined) setImmediate(done)
  }

  removeListener(_filter: string, _listener: unknown, done?: () => void): void {
    if (done !== undefined) setImmediate(done)
  }

  close(done?: () => void): void {
    if (done !== undefined) setImmediate(done)
  }
}

/** aedes, which knows MQTT's packets and the states of a connection, between sockets and a node. */
export function createBroker(components: BrokerComponents, init: BrokerInit): Aedes {
  const { publisher, sessions } = components
  /** Clients that ask for a persistent session and give no id for it. */
  const nameless = new WeakSet<Client>()
  /** Clients that were sent their CONNACK. */
  const answered = new WeakSet<Client>()
  const enter = callbackify(async (client: Client, password: Buffer | undefined) => {
    if (nameless.has(client)) {
      components.figures.closed('bad client id')
      throw connectRefusal(2, 'a persistent session needs a client id')
    }
    await init.authenticate(client, password)
  })
  const publish = callbackify(async (client: Client, packet: IncomingMessage) => {
    // The broker acknowledges QoS 1 before it passes it on, so it is published here, before either. QoS 2 has its
    // turn when it is stored, where it is known whether it was before. A will, which is no packet, has no other place:
    // the error only says that the broker has nothing left to do.
    const isWill = (packet as { cmd?: string }).cmd === undefined
    if (packet.qos !== 2 || isWill) await publisher.publish(client, packet)
    if (isWill) throw new Error('the will was published')
  })
  const subscribe = callbackify((client: Client, asked: AskedFilter) =>
    sessions.subscribe(client, asked)
  )
  const broker = new Aedes({
    mq: new NoEmitter(),
    persistence: new MqttPersistence({ sessions, publisher }),
    connectTimeout: LIMITS.mqttConnectTimeoutMs,
    drainTimeout: LIMITS.mqttDrainMs,
    queueLimit: LIMITS.mqttEarlyPackets,
    maxInflightInbound: LIMITS.mqttInFlightInbound,
    preConnect: (client, packet, done) => {
      if (packet.clientId === '' && packet.clean === false) nameless.add(client)
      done(null, true)
    },
    authenticate: (client, _user, password, done) => {
      enter(client, password, (error) => done(error as AuthenticateError | null, error === null))
    },
    authorizePublish: (client, packet, done) => {
      if (client === null) done()
      else publish(client, packet, done)
    },
    authorizeSubscribe: (client, subscription, done) => {
      const { qos, topic } = subscription
      // The broker is not to lower the QoS of a message by a filter that happens to be its topic.
      const granted = { ...subscription, qos: 2 as const }
      const asked = { filter: topic, qos: qos as Qos }
      // A session's own filters, which it goes on with, are looked after when it is there.
      if (!answered.has(client)) done(null, granted)
      else subscribe(client, asked, (error, isGranted) => done(error, isGranted ? granted : null))
    },
    authorizeForward: (client, packet) => sessions.of(client)?.outlet?.forward(packet)
  })
  broker.on('connackSent', (_packet, client) => answered.add(client))
  listenTo(broker, components)
  return broker
}

function listenTo(broker: Aedes, { figures, logger, sessions }: BrokerComponents): void {
  const closed = (client: Client, reason: Closing): void => {
    figures.closed(reason)
    logger.debug({ client: client.id, reason }, 'an MQTT connection was closed')
  }
  /** What ends a connection is often followed by errors that come of it. */
  const ended = new WeakSet<Client>()
  const faulted = (client: Client, error: Error): void => {
    if (ended.has(client)) return
    ended.add(client)
    const reason = faultOf(error)
    if (reason !== undefined) figures.closed(reason)
    const fields = { client: client.id, reason: error.message }
    logger.debug(fields, 'an MQTT connection ended with an error')
  }
  broker.on('clientReady', (client) => {
    if (client.clean) return
    sessions.resume(client).catch((error: unknown) => {
      if (client.closed) return
      closed(client, 'subscription failed')
      const fields = { err: error, client: client.id }
      logger.warn(fields, 'the session of an MQTT client could not be resumed')
      client.close()
    })
  })
  broker.on('subscribe', (subscriptions, client) => {
    for (const { qos, topic } of subscriptions) {
      // Not those that were refused.
      if (Number(qos) <= 2) sessions.begin(client, topic)
    }
  })
  broker.on('unsubscribe', (filters, client) => {
    sessions.unsubscribe(client, filters).catch((error: unknown) => {
      const fields = { err: error, client: client.id }
      logger.warn(fields, 'a subscription of an MQTT client was not ended')
    })
  })
  broker.on('keepaliveTimeout', (client) => closed(client, 'keep alive'))
  broker.on('connectionError', faulted)
  broker.on('clientError', faulted)
}

/** What was counted already where it happened, and connections that simply broke, are none. */
function faultOf(error: Error): Closing | undefined {
  if (error.message === 'connect did not arrive in time') return 'connect timeout'
  const isKnown = error instanceof SkeinError || 'returnCode' in error
  const isBroken = (error as NodeJS.ErrnoException).code !== undefined
  if (isKnown || isBroken || /keep alive|closed/.test(error.message)) return undefined
  return 'protocol error'
}
