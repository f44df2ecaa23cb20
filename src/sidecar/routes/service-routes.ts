import { z } from 'zod'
import { LIMITS } from '../../core/limits.ts'
import type { Api } from '../api/api.ts'
import { empty, json, jsonBody, route } from '../api/route.ts'
import type { WebhookServices } from '../webhooks/webhook-services.ts'

const TAG = 'Requests'
const path = '/v1/services/{service}'

const responderSchema = z.strictObject({
  webhook: z.url({ protocol: /^https?$/, error: 'is not an http or https URL' }).max(2048),
  concurrency: z.int().min(1).max(LIMITS.servedRequests).default(LIMITS.serviceConcurrency),
  ttlMs: z.int().min(1000).max(LIMITS.requestTimeoutMaxMs).optional().meta({
    description:
      'It ends unless it is put again within this time. Without: with DELETE, over restarts of the node.'
  })
})

const serviceSchema = z
  .object({
    service: z.string(),
    webhook: z.string(),
    concurrency: z.int(),
    ttlMs: z.int().optional(),
    running: z.int().meta({ description: 'Requests that are with the webhook.' }),
    waiting: z.int()
  })
  .meta({ id: 'Service' })

const getService = route({
  method: 'GET',
  path,
  tag: TAG,
  operation: 'getService',
  summary: 'How requests for the service are answered here.',
  answers: { 200: json(serviceSchema, 'By this webhook.') },
  errors: ['ERR_NOT_FOUND']
})

const putService = route({
  method: 'PUT',
  path,
  tag: TAG,
  operation: 'putService',
  summary: 'Answers requests for the service by a webhook.',
  body: jsonBody(responderSchema),
  answers: { 200: json(serviceSchema, 'It is served.') }
})

const deleteService = route({
  method: 'DELETE',
  path,
  tag: TAG,
  operation: 'deleteService',
  summary: 'Serves it no more.',
  answers: { 204: empty('The requests that were with the webhook are done.') },
  errors: ['ERR_NOT_FOUND']
})

export function addServiceRoutes(api: Api, components: { services: WebhookServices }): void {
  const { services } = components
  api.add(getService, (call) => services.get(call.path.service))
  api.add(putService, async (call) => {
    const { concurrency, ttlMs, webhook } = await call.readJson()
    return services.put(call.path.service, { webhook, concurrency, ttlMs })
  })
  api.add(deleteService, (call) => services.delete(call.path.service))
}
