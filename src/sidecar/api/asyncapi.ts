import type { z } from 'zod'
import { type JsonSchema, JsonSchemas } from './json-schemas.ts'

/** Messages of one channel, by what they are called there. */
type Messages = Readonly<Record<string, z.ZodType>>

/** What goes over connections that last. */
export interface AsyncInterface {
  readonly version: string
  /** Of an event stream, by the name of the event. */
  readonly events: Messages
  /** Frames that clients send, by `type`. */
  readonly commands: Messages
  /** Frames that the node sends, by `type`. */
  readonly pushes: Messages
}

const REPLIES = ['ok', 'error']
const SECURITY = [{ $ref: '#/components/securitySchemes/token' }]
const HOST = { host: '{host}', variables: { host: { default: '127.0.0.1:7400' } } }

const commandKey = (type: string): string => `${type}Command`
const pushKey = (type: string): string => `${type}Push`
const channelRef = (channel: string): JsonSchema => ({ $ref: `#/channels/${channel}` })
const messageRef = (channel: string, key: string): JsonSchema => ({
  $ref: `#/channels/${channel}/messages/${key}`
})

/** Event streams and WebSockets as an AsyncAPI 3 document, from the side of the node. */
export function asyncApiOf({ commands, events, pushes, version }: AsyncInterface): JsonSchema {
  const schemas = new JsonSchemas()
  return {
    asyncapi: '3.0.0',
    info: {
      title: 'Skein node',
      version,
      description:
        'What goes over the event streams and WebSockets of one node of a Skein mesh. Its other routes are in /openapi.json.',
      license: { name: 'Apache-2.0 OR MIT' }
    },
    defaultContentType: 'application/json',
    servers: {
      http: { ...HOST, protocol: 'http', security: SECURITY },
      websocket: { ...HOST, protocol: 'ws', security: SECURITY }
    },
    channels: {
      events: {
        address: '/v1/subscribe',
        title: 'Server-Sent Events',
        description:
          'Opened by GET with a query, see /openapi.json. The name of a message is its `event:` line, its payload the `data:` line.',
        servers: [{ $ref: '#/servers/http' }],
        messages: messagesOf(events, (type) => type, schemas, 'output')
      },
      frames: {
        address: '/v1/ws',
        title: 'WebSocket',
        description: 'Of the protocol `skein.v1`. Each message is one text frame.',
        servers: [{ $ref: '#/servers/websocket' }],
        messages: {
          ...messagesOf(commands, commandKey, schemas, 'input'),
          ...messagesOf(pushes, pushKey, schemas, 'output')
        }
      }
    },
    operations: {
      sendEvents: {
        action: 'send',
        channel: channelRef('events'),
        messages: Object.keys(events).map((type) => messageRef('events', type))
      },
      pushFrames: {
        action: 'send',
        channel: channelRef('frames'),
        messages: Object.keys(pushes)
          .filter((type) => !REPLIES.includes(type))
          .map((type) => messageRef('frames', pushKey(type)))
      },
      ...Object.fromEntries(Object.keys(commands).map((type) => [type, commandOf(type)]))
    },
    components: {
      schemas: schemas.components,
      securitySchemes: {
        token: {
          type: 'http',
          scheme: 'bearer',
          description: "The token stands in api.json of the node's data directory."
        }
      }
    }
  }
}

function messagesOf(
  messages: Messages,
  keyOf: (type: string) => string,
  schemas: JsonSchemas,
  io: 'input' | 'output'
): JsonSchema {
  return Object.fromEntries(
    Object.entries(messages).map(([type, schema]) => [
      keyOf(type),
      { name: type, payload: schemas.of(schema, io) }
    ])
  )
}

/** A command is answered over the same connection, by its `ref`. */
function commandOf(type: string): JsonSchema {
  return {
    action: 'receive',
    channel: channelRef('frames'),
    messages: [messageRef('frames', commandKey(type))],
    reply: {
      channel: channelRef('frames'),
      messages: REPLIES.map((reply) => messageRef('frames', pushKey(reply)))
    }
  }
}
