import type { FastifyInstance } from 'fastify'
import type { SkeinNode } from '../node/contract.ts'
import { decodeSegment, pathOf, readQuery } from './query.ts'

const ROOT = '/v1/groups'

export function addGroupRoutes(app: FastifyInstance, components: { node: SkeinNode }): void {
  const { node } = components
  app.get(ROOT, async (request, reply) => {
    readQuery(request.raw.url ?? '', [])
    return reply.header('cache-control', 'no-store').send({ groups: await node.groups() })
  })
  app.delete(`${ROOT}/:name`, async (request, reply) => {
    const target = request.raw.url ?? ''
    readQuery(target, [])
    await node.forgetGroup(decodeSegment(pathOf(target).slice(ROOT.length + 1), 'name'))
    return reply.code(204).send()
  })
}
