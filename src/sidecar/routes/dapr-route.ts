import { randomUUID } from 'node:crypto'
import { LIMITS } from '../../core/limits.ts'
import type { PublishOptions, SkeinNode } from '../../node/contract.ts'
import type { Api } from '../api/api.ts'
import { flag, integer, optional, text } from '../api/parameters.ts'
import { PUBLISH_ERRORS } from '../api/route-errors.ts'
import { empty, messageBody, route } from '../api/route.ts'
import { readBinaryEvent, readJsonEvent } from '../events/cloud-event-input.ts'
import { withEvent } from './publish-request.ts'
import { optionError } from '../query.ts'
import { readBody } from '../request-body.ts'

const EVENT = /^application\/cloudevents\+json\s*(?:;|$)/i
/** What applications that listen by Dapr know their events by. */
const EVENT_TYPE = 'com.dapr.event.sent'
/** What Dapr takes a body for that has no content type. */
const DEFAULT_TYPE = 'text/plain'

const daprPublish = route({
  method: 'POST',
  path: '/v1.0/publish/{pubsub}/{+topic}',
  tag: 'Publish',
  operation: 'daprPublish',
  summary: "Publishes as Dapr's API does, for applications that speak it.",
  description: `A body that is no CloudEvent becomes the data of one, of type \`${EVENT_TYPE}\`.`,
  names: {
    pubsub: 'Goes into the event as `pubsubname`, and has no other meaning.',
    topic: 'Slashes may stand in it.'
  },
  query: {
    'metadata.ttlInSeconds': optional(
      integer(1, 1e9),
      'Seconds after which it is not handed over any more.'
    ),
    'metadata.rawPayload': optional(
      flag,
      'A plain message: no event is made of it, and none is read.',
      false
    ),
    'metadata.partitionKey': optional(text, 'Key.'),
    'metadata.cloudevent.id': optional(text, 'Attribute of the event, where it has none.'),
    'metadata.cloudevent.source': optional(text, 'The same.'),
    'metadata.cloudevent.type': optional(text, 'The same.'),
    'metadata.cloudevent.subject': optional(text, 'The same.')
  },
  body: messageBody('The data, or a CloudEvent.', {
    takesEvents: true,
    types: { 'application/cloudevents+json': { description: 'A CloudEvent.' } }
  }),
  answers: { 204: empty("It is on this node's disk.") },
  errors: PUBLISH_ERRORS,
  config: { tokenHeader: 'dapr-api-token' }
})

/** Publishes like a Dapr sidecar, as far as one application can tell. */
export function addDaprRoute(api: Api, components: { node: SkeinNode; signal: AbortSignal }): void {
  const { node, signal } = components
  api.add(daprPublish, async ({ message, path, query, request }) => {
    const { pubsub, topic } = path
    if (topic === '') {
      throw optionError('topic', 'is missing; POST to /v1.0/publish/<pubsub>/<topic>.')
    }
    const ttl = query['metadata.ttlInSeconds']
    const plain: PublishOptions = {
      ...message,
      key: query['metadata.partitionKey'],
      ttlMs: ttl === undefined ? undefined : ttl * 1000
    }
    if (query['metadata.rawPayload']) {
      await node.publish(topic, await readBody(request.raw, LIMITS.payloadBytes, signal), plain)
      return
    }
    const attributes = {
      specversion: '1.0',
      id: query['metadata.cloudevent.id'] ?? randomUUID(),
      source: query['metadata.cloudevent.source'] ?? encodeURIComponent(node.name),
      type: query['metadata.cloudevent.type'] ?? EVENT_TYPE,
      subject: query['metadata.cloudevent.subject'],
      topic,
      pubsubname: pubsub
    }
    if (EVENT.test(request.headers['content-type'] ?? '')) {
      const body = await readBody(request.raw, LIMITS.httpEventBytes, signal)
      const { options, payload } = readJsonEvent(body, attributes)
      await node.publish(topic, payload, withEvent({ ...plain, contentType: undefined }, options))
      return
    }
    const wrapped = readBinaryEvent(request.headers, {
      ...attributes,
      datacontenttype: DEFAULT_TYPE
    })
    const body = await readBody(request.raw, LIMITS.payloadBytes, signal)
    await node.publish(topic, body, withEvent(plain, wrapped))
  })
}
