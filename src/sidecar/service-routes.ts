import type { FastifyInstance, FastifyRequest } from 'fastify'
import { z } from 'zod'
import { LIMITS } from '../core/limits.ts'
import { decodeSegment, pathOf, readQuery } from './query.ts'
import { readJson } from './request-body.ts'
import type { WebhookServices } from './webhook-services.ts'

const ROOT = '/v1/services'

const responderSchema = z.strictObject({
  webhook: z.url({ protocol: /^https?$/, error: 'is not an http or https URL' }).max(2048),
  concurrency: z.int().min(1).max(LIMITS.servedRequests).default(LIMITS.serviceConcurrency),
  ttlMs: z.int().min(1000).max(LIMITS.requestTimeoutMaxMs).optional()
})

function serviceOf(request: FastifyRequest): string {
  const target = request.raw.url ?? ''
  readQuery(target, [])
  return decodeSegment(pathOf(target).slice(ROOT.length + 1), 'service')
}

export function addServiceRoutes(
  app: FastifyInstance,
  components: { services: WebhookServices; signal: AbortSignal }
): void {
  const { services, signal } = components
  const url = `${ROOT}/:service`
  app.get(url, async (request, reply) =>
    reply.header('cache-control', 'no-store').send(services.get(serviceOf(request)))
  )
  app.put(url, async (request) => {
    const service = serviceOf(request)
    const { concurrency, ttlMs, webhook } = await readJson(request.raw, responderSchema, signal)
    return services.put(service, { webhook, concurrency, ttlMs })
  })
  app.delete(url, async (request, reply) => {
    await services.delete(serviceOf(request))
    return reply.code(204).send()
  })
}
