import type { JsonSchema, JsonSchemas } from './json-schemas.ts'
import { cloudEventSchema } from './shapes.ts'

const header = (name: string, description: string, required = true): JsonSchema => ({
  name,
  in: 'header',
  required,
  description,
  schema: { type: 'string' }
})

/** Requests that a node makes itself, as the `webhooks` of an OpenAPI document. */
export function webhookOperations(schemas: JsonSchemas): JsonSchema {
  return {
    message: { post: messagePush(schemas) },
    request: { post: serviceRequest() }
  }
}

function messagePush(schemas: JsonSchemas): JsonSchema {
  return {
    operationId: 'onMessage',
    tags: ['Durable subscriptions'],
    summary: 'A message of a durable subscription, pushed to its webhook.',
    description:
      'It comes at least once. In binary mode, each attribute of the CloudEvent is a header `ce-<name>`.',
    security: [],
    parameters: [
      header('Skein-Subscription', 'The name of the subscription, percent-encoded.'),
      header('ce-id', 'In binary mode; the same when the message comes again.', false),
      header('ce-source', 'In binary mode.', false),
      header('ce-type', 'In binary mode.', false)
    ],
    requestBody: {
      content: {
        '*/*': { schema: { description: 'In binary mode: the payload.' } },
        'application/cloudevents+json': { schema: schemas.of(cloudEventSchema, 'output') }
      }
    },
    responses: {
      '2XX': { description: 'Acknowledged.' },
      '408': { description: 'Later; does not count as a hand-over.' },
      '410': { description: 'Nothing is wanted any more: paused until it is registered again.' },
      '425': { description: 'As 408.' },
      '429': { description: 'As 408. `Retry-After` is waited for.' },
      '503': { description: 'As 408. `Retry-After` is waited for.' },
      default: { description: 'It failed: pushed again, and after `maxDeliveries` a dead letter.' }
    }
  }
}

function serviceRequest(): JsonSchema {
  return {
    operationId: 'onRequest',
    tags: ['Requests'],
    summary: 'A request for a service, to be answered by its webhook.',
    description:
      'Headers of the request are `Skein-Header-<name>`, and so are those of the answer.',
    security: [],
    parameters: [
      header('Skein-Service', 'The service.'),
      header('Skein-From', 'PeerId of the node that asks.'),
      header('Skein-Timeout', 'Seconds that are left.', false)
    ],
    requestBody: { content: { '*/*': { schema: { description: 'What is asked.' } } } },
    responses: {
      '2XX': { description: 'The reply.', content: { '*/*': {} } },
      default: {
        description: 'Who asks gets `ERR_RESPONDER`, with the text where it is `text/plain`.'
      }
    }
  }
}
