import type { Figures } from '../figures.ts'
import type { Refusal } from './connection.ts'
import type { Qos } from './session-names.ts'

/** Why a client's connection was ended by this side. */
export type Closing =
  | Refusal
  | 'bad password'
  | 'bad client id'
  | 'connect timeout'
  | 'keep alive'
  | 'protocol error'
  | 'publish failed'
  | 'subscription failed'
  | 'taken over'

/** Why a message of a client was not published, though the client was told that all is well. */
type Dropping = 'reserved' | 'unstored'

/** Counts what MQTT clients do. */
export interface MqttFigures {
  received(qos: Qos): void
  sent(qos: Qos): void
  dropped(reason: Dropping): void
  closed(reason: Closing): void
}

export function createMqttFigures(figures: Figures, connections: () => number): MqttFigures {
  figures.gauge('skein_mqtt_connections', 'Open MQTT connections.', [], connections)
  const received = figures.counter(
    'skein_mqtt_received_messages_total',
    'Messages that MQTT clients published, those that were dropped included.',
    ['qos']
  )
  const sent = figures.counter(
    'skein_mqtt_sent_messages_total',
    'Messages sent to MQTT clients, repeats included.',
    ['qos']
  )
  const dropped = figures.counter(
    'skein_mqtt_dropped_messages_total',
    "Messages of MQTT clients that were not published: `reserved`: to a topic of Skein's own; `unstored`: QoS 0 and no room.",
    ['reason']
  )
  const closed = figures.counter(
    'skein_mqtt_closed_connections_total',
    'MQTT connections that the node ended.',
    ['reason']
  )
  return {
    received: (qos) => received.add([String(qos)]),
    sent: (qos) => sent.add([String(qos)]),
    dropped: (reason) => dropped.add([reason]),
    closed: (reason) => closed.add([reason])
  }
}
