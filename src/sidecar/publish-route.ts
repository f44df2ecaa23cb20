import type { FastifyInstance, FastifyRequest } from 'fastify'
import { SkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { PublishOptions, Published, SkeinNode } from '../node/contract.ts'
import { readJsonEvent } from './cloud-event-input.ts'
import { LineSplitter } from './line-splitter.ts'
import { PublishWindow } from './publish-window.ts'
import type { ManyPublished } from './publish-window.ts'
import { readPublishRequest, withEvent } from './publish-request.ts'
import { decodeSegment, optionError, pathOf, readQuery } from './query.ts'
import { bodyChunks, readBody } from './request-body.ts'

const PREFIX = '/v1/publish'

/** The topic of a publish: the rest of the path, where slashes stand as they are, or `?topic=`. */
function topicOf(target: string, topic: string | undefined): string {
  const rest = pathOf(target).slice(PREFIX.length)
  if (rest.length > 1) {
    if (topic !== undefined) throw optionError('topic', 'it stands in the path already; give one.')
    return decodeSegment(rest.slice(1), 'topic')
  }
  if (topic === undefined) {
    throw optionError('topic', 'is missing; POST to /v1/publish/<topic> or add ?topic=<topic>.')
  }
  return topic
}

/** How one line becomes a message; undefined: nothing to publish. */
type Publisher = (line: Buffer) => Promise<Published> | undefined

function linePublisher(node: SkeinNode, topic: string, options: PublishOptions): Publisher {
  return (line) => node.publish(topic, line, options)
}

function jsonPublisher(node: SkeinNode, topic: string, options: PublishOptions): Publisher {
  const asText = { ...options, contentType: 'text/plain' }
  const asJson = { ...options, contentType: 'application/json' }
  return (line) => {
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
  const window = new PublishWindow()
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

export function addPublishRoutes(
  app: FastifyInstance,
  components: { node: SkeinNode; signal: AbortSignal; draining: AbortSignal }
): void {
  const { draining, node, signal } = components
  const handler = async (request: FastifyRequest): Promise<unknown> => {
    const target = request.raw.url ?? ''
    const query = readQuery(target, ['topic', 'split'])
    const topic = topicOf(target, query.get('topic'))
    const { mode, options } = readPublishRequest(request.headers, query.get('split'))
    if (mode === 'single') {
      const body = await readBody(request.raw, LIMITS.payloadBytes, signal)
      return node.publish(topic, body, options)
    }
    if (mode === 'event') {
      const body = await readBody(request.raw, LIMITS.httpEventBytes, signal)
      const event = readJsonEvent(body)
      return node.publish(topic, event.payload, withEvent(options, event.options))
    }
    const publish =
      mode === 'lines' ? linePublisher(node, topic, options) : jsonPublisher(node, topic, options)
    // A JSON string may take up to six bytes for one of its text.
    const maxBytes = mode === 'lines' ? LIMITS.payloadBytes : LIMITS.payloadBytes * 6
    return publishLines(bodyChunks(request.raw, draining), publish, maxBytes)
  }
  for (const url of [PREFIX, `${PREFIX}/*`]) {
    app.post(url, async (request, reply) => {
      const result = await handler(request)
      return reply.code(202).send(result)
    })
  }
}
