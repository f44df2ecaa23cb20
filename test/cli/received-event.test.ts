import { describe, expect, it } from 'vitest'
import { type ReceivedEvent, jsonLine } from '../../src/cli/received-message.ts'
import type { Message } from '../../src/node/contract.ts'
import { cloudEventJson } from '../../src/sidecar/events/cloud-event.ts'

const message: Message = {
  id: 'publisher/0192f00dba5e0001/7/orders',
  topic: 'orders/new',
  payload: Buffer.from('{"n":1}'),
  contentType: 'application/json',
  key: undefined,
  headers: {},
  publisher: 'publisher',
  session: '0192f00dba5e0001',
  sequence: 7,
  priority: 0,
  time: new Date('2030-01-01T00:00:00Z'),
  expiresAt: undefined,
  attempt: 1,
  late: false,
  fence: undefined,
  cursor: 'cursor',
  json: <T>() => ({ n: 1 }) as T,
  text: () => '{"n":1}',
  ack: async () => {},
  nack: async () => {}
}

/** What `skein sub --json` prints of a message with these headers. */
function lineOf(headers: Record<string, string>): Record<string, unknown> {
  const event = cloudEventJson({ ...message, headers }, 'base64')
  return JSON.parse(jsonLine(JSON.parse(event) as ReceivedEvent)) as Record<string, unknown>
}

const known = { id: message.id, topic: 'orders/new', publisher: 'publisher', sequence: 7 }

describe('cli received message', () => {
  it('sub: shows the headers of a message, whatever they are called', () => {
    const headers = { country: 'NZ', id: 'own', 'trace-id': 'abc' }
    expect(lineOf(headers)).toMatchObject({ ...known, payload: { n: 1 }, headers })
  })

  it('sub: shows the attributes of an event as the headers that they are, and the message beside', () => {
    const headers = {
      specversion: '1.0',
      id: '1',
      source: '/shop',
      type: 'order.created',
      time: '2029-12-31T23:59:59Z',
      sequence: 'a',
      country: 'NZ'
    }
    expect(lineOf(headers)).toMatchObject({ ...known, headers, time: headers.time })
  })
})
