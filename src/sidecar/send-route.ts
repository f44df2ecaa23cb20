import type { FastifyInstance } from 'fastify'
import { SkeinError, isSkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Sent, SkeinNode } from '../node/contract.ts'
import { readQuery } from './query.ts'
import { readBody } from './request-body.ts'
import { readSendRequest } from './send-request.ts'
import { goneSignal, within } from './waiting.ts'

const PREFIX = '/v1/send'

/**
 * True: the receipt is here. False: it did not come in `waitMs`, or nobody waits any more; the message is on its
 * way all the same. Throws ERR_TIMEOUT when its time to live passed without a receipt.
 */
async function isDelivered(sent: Sent, waitMs: number, signal: AbortSignal): Promise<boolean> {
  if (!(await within(sent.delivered, waitMs, signal))) return false
  try {
    await sent.delivered
    return true
  } catch (error) {
    // It is on disk, and is sent when the node is back: an error would have it sent twice.
    if (isSkeinError(error, 'ERR_STOPPED')) return false
    if (!isSkeinError(error)) throw error
    throw new SkeinError(error.code, error.message, {
      cause: error,
      details: { ...error.details, id: sent.id, to: sent.to }
    })
  }
}

export function addSendRoutes(
  app: FastifyInstance,
  components: { node: SkeinNode; signal: AbortSignal; draining: AbortSignal }
): void {
  const { draining, node, signal } = components
  app.post(`${PREFIX}/:peer/*`, async (request, reply) => {
    const target = request.raw.url ?? ''
    readQuery(target, [])
    const { peer, topic, options, waitMs } = readSendRequest(target, PREFIX, request.headers)
    const body = await readBody(request.raw, LIMITS.payloadBytes, signal)
    const gone = goneSignal(reply.raw)
    const sent = await node.send(peer, topic, body, options)
    const { id, to, time } = sent
    // Whoever does not wait learns the end from the outbox and its dead letters.
    sent.delivered.catch(() => {})
    if (waitMs === undefined) return reply.code(202).send({ id, to, time })
    const delivered = await isDelivered(sent, waitMs, AbortSignal.any([draining, gone]))
    return reply.code(delivered ? 200 : 202).send({ id, to, time, delivered })
  })
  app.get('/v1/outbox', async (request, reply) => {
    readQuery(request.raw.url ?? '', [])
    return reply.header('cache-control', 'no-store').send({ entries: await node.outbox() })
  })
}
