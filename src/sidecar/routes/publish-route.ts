import { isUtf8 } from 'node:buffer'
import type { IncomingMessage } from 'node:http'
import { z } from 'zod'
import { SkeinError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { PublishOptions, Published, SkeinNode } from '../../node/contract.ts'
import type { Api } from '../api/api.ts'
import { choice, needed, optional, text } from '../api/parameters.ts'
import { PUBLISH_ERRORS } from '../api/route-errors.ts'
import { json, messageBody, route } from '../api/route.ts'
import { publishedSchema } from '../api/shapes.ts'
import { type EventMessage, readJsonBatch, readJsonEvent } from '../events/cloud-event-input.ts'
import { LineSplitter } from './line-splitter.ts'
import {
  PUBLISH_HEADERS,
  type PublishRequest,
  publishRequestOf,
  withEvent
} from './publish-request.ts'
import { PublishWindow } from './publish-window.ts'
import type { ManyPublished } from './publish-window.ts'
import { optionError } from '../query.ts'
import { bodyChunks, readBody } from '../request-body.ts'

export interface PublishComponents {
  readonly node: SkeinNode
  readonly signal: AbortSignal
  /** Streams of lines end. */
  readonly draining: AbortSignal
}

const TOPIC_HINT = 'POST to /v1/publish/<topic> or add ?topic=<topic>'

/** Publishes all events of a batch, in order. */
async function publishEvents(
  node: SkeinNode,
  topic: string,
  events: readonly EventMessage[]
): Promise<ManyPublished> {
  const window = new PublishWindow('index')
  for (const [index, { options, payload }] of events.entries()) {
    if (window.full) await window.room()
    if (window.failed) break
    try {
      window.add(index, payload.length, node.publish(topic, payload, options))
    } catch (error) {
      window.fail(index, error)
    }
  }
  return window.finish()
}

const manySchema = z
  .object({
    published: z.int().meta({ description: 'Confirmed.' }),
    first: publishedSchema.nullable(),
    last: publishedSchema.nullable()
  })
  .meta({ id: 'ManyPublished' })

const shared = {
  method: 'POST',
  tag: 'Publish',
  headers: PUBLISH_HEADERS,
  body: messageBody('One message, one a line, or CloudEvents.', {
    takesEvents: true,
    types: {
      'application/cloudevents+json': {
        schema: z.looseObject({
          specversion: z.literal('1.0'),
          id: z.string().min(1),
          source: z.string().min(1),
          type: z.string().min(1)
        }),
        description:
          'A CloudEvent in structured mode. In binary mode its attributes are `ce-*` headers.'
      },
      'application/cloudevents-batch+json': { description: 'An array of CloudEvents.' },
      'application/x-ndjson': {
        description:
          'Each line is JSON: a string is published as its text, anything else as it was written.'
      }
    }
  }),
  answers: {
    202: json(
      z.union([publishedSchema, manySchema]),
      'Confirmed. For many messages how many, the first and the last.'
    )
  },
  errors: [...PUBLISH_ERRORS, 'ERR_PAYLOAD', 'ERR_REPLICAS', 'ERR_ID_CONFLICT']
} as const

const split = optional(choice('lines'), 'Each line of the body is one message, as raw bytes.')

const publishTo = route({
  ...shared,
  path: '/v1/publish/{+topic}',
  operation: 'publish',
  summary: 'Publishes the body: one message, or one a line.',
  names: { topic: 'Slashes may stand in it.' },
  query: { topic: optional(text, 'Where the path has none.'), split }
})

const publishTopic = route({
  ...shared,
  path: '/v1/publish',
  operation: 'publishTopic',
  summary: 'The same with the topic in `?topic=`.',
  query: { topic: needed(text, 'The topic.', TOPIC_HINT), split }
})

/** How one line becomes a message; undefined: nothing to publish. */
type Publisher = (line: Buffer) => Promise<Published> | undefined

function linePublisher(node: SkeinNode, topic: string, options: PublishOptions): Publisher {
  return (line) => node.publish(topic, line, options)
}

function jsonPublisher(node: SkeinNode, topic: string, options: PublishOptions): Publisher {
  const asText = { ...options, contentType: 'text/plain' }
  const asJson = { ...options, contentType: 'application/json' }
  return (line) => {
    if (!isUtf8(line)) throw new SkeinError('ERR_PAYLOAD', 'The line is not UTF-8.')
    const text = line.toString('utf8').trim()
    if (text === '') return undefined
    let value: unknown
    try {
      value = JSON.parse(text)
    } catch (error) {
      const why = error instanceof Error ? error.message : 'malformed'
      throw new SkeinError('ERR_PAYLOAD', `The line is not JSON: ${why}.`, { cause: error })
    }
    if (typeof value === 'string') return node.publish(topic, Buffer.from(value), asText)
    // The bytes as they were written, so that numbers and key order stay.
    return node.publish(topic, Buffer.from(text), asJson)
  }
}

/** Publishes each line of a body while it comes in. */
async function publishLines(
  chunks: AsyncIterable<Buffer>,
  publish: Publisher,
  maxBytes: number
): Promise<ManyPublished> {
  const window = new PublishWindow('line')
  const splitter = new LineSplitter(maxBytes)
  let line = 0
  const add = (bytes: Buffer): void => {
    line++
    try {
      const result = publish(bytes)
      if (result !== undefined) window.add(line, bytes.length, result)
    } catch (error) {
      window.fail(line, error)
    }
  }
  try {
    for await (const chunk of chunks) {
      for (const bytes of splitter.push(chunk)) {
        if (window.full) await window.room()
        if (window.failed) return await window.finish()
        add(bytes)
      }
    }
    const last = splitter.end()
    if (last !== undefined && !window.failed) add(last)
  } catch (error) {
    // The line that was not complete yet is the one that cannot be published.
    if (!window.failed) window.fail(line + 1, error)
  }
  return window.finish()
}

export function addPublishRoutes(api: Api, components: PublishComponents): void {
  api.add(publishTo, ({ headers, message, path, query, request }) => {
    if (path.topic !== '' && query.topic !== undefined) {
      throw optionError('topic', 'it stands in the path already; give one.')
    }
    const topic = path.topic === '' ? query.topic : path.topic
    if (topic === undefined) throw optionError('topic', `is missing; ${TOPIC_HINT}.`)
    const wanted = publishRequestOf(request.headers, headers, message, query.split)
    return publishBody(topic, wanted, request.raw, components)
  })
  api.add(publishTopic, ({ headers, message, query, request }) => {
    const wanted = publishRequestOf(request.headers, headers, message, query.split)
    return publishBody(query.topic, wanted, request.raw, components)
  })
}

async function publishBody(
  topic: string,
  { mode, options }: PublishRequest,
  request: IncomingMessage,
  { draining, node, signal }: PublishComponents
): Promise<Published | ManyPublished> {
  if (mode === 'single') {
    const body = await readBody(request, LIMITS.payloadBytes, signal)
    return node.publish(topic, body, options)
  }
  if (mode === 'event') {
    const event = readJsonEvent(await readBody(request, LIMITS.httpEventBytes, signal))
    return node.publish(topic, event.payload, withEvent(options, event.options))
  }
  if (mode === 'batch') {
    const body = await readBody(request, LIMITS.httpBatchBytes, signal)
    const events = readJsonBatch(body, (event) => ({
      ...event,
      options: withEvent(options, event.options)
    }))
    return publishEvents(node, topic, events)
  }
  const publish =
    mode === 'lines' ? linePublisher(node, topic, options) : jsonPublisher(node, topic, options)
  // A JSON string may take up to six bytes for one of its text.
  const maxBytes = mode === 'lines' ? LIMITS.payloadBytes : LIMITS.payloadBytes * 6
  return publishLines(bodyChunks(request, draining), publish, maxBytes)
}
