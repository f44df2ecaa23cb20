import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { LIMITS } from '../core/limits.ts'
import type { SkeinNode } from '../node/contract.ts'
import { decodeSegment, parseInteger, pathOf, readQuery } from './query.ts'
import { readJson } from './request-body.ts'

const ROOT = '/v1/dlq'

const redriveSchema = z.strictObject({
  ids: z.array(z.string()).max(LIMITS.deadLettersListed).optional()
})

export function addDeadLetterRoutes(
  app: FastifyInstance,
  components: { node: SkeinNode; signal: AbortSignal }
): void {
  const { node, signal } = components
  app.get(ROOT, async (request, reply) => {
    const query = readQuery(request.raw.url ?? '', ['subscription', 'limit'])
    const subscription = query.get('subscription')
    const limit = parseInteger(query.get('limit') ?? String(LIMITS.deadLettersListed), 'limit', [
      1,
      LIMITS.deadLettersListed
    ])
    const deadLetters = await node.deadLetters({
      limit,
      ...(subscription === undefined ? {} : { subscription })
    })
    return reply.header('cache-control', 'no-store').send({ deadLetters })
  })
  app.post(`${ROOT}/:subscription/redrive`, async (request) => {
    const target = request.raw.url ?? ''
    readQuery(target, [])
    const [segment = ''] = pathOf(target)
      .slice(ROOT.length + 1)
      .split('/')
    const { ids } = await readJson(request.raw, redriveSchema, signal)
    return { redriven: await node.redrive(decodeSegment(segment, 'subscription'), ids) }
  })
}
