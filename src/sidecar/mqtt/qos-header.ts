import type { Message } from '../../node/contract.ts'
import type { Qos } from './session-names.ts'

/** Header of a message that came by MQTT with another QoS than 1. */
export const QOS_HEADER = 'mqttqos'

/** The QoS that a message was published with; what came by other doors is acknowledged as QoS 1 is. */
export function qosOf({ headers }: Pick<Message, 'headers'>): Qos {
  const text = headers[QOS_HEADER]
  return text === '0' ? 0 : text === '2' ? 2 : 1
}
