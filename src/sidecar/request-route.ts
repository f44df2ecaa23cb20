import type { IncomingHttpHeaders } from 'node:http'
import type { FastifyInstance } from 'fastify'
import { LIMITS } from '../core/limits.ts'
import type { RequestOptions, SkeinNode } from '../node/contract.ts'
import { asHttpHeaders, asHttpType, readMessageHeaders, unknownHeader } from './message-headers.ts'
import { decodeSegment, optionError, parseSeconds, pathOf, readQuery } from './query.ts'
import { readBody } from './request-body.ts'
import { goneSignal } from './waiting.ts'

const PREFIX = '/v1/request'
function readOptions(headers: IncomingHttpHeaders): RequestOptions {
  let timeoutMs: number | undefined
  const message = readMessageHeaders(headers, (name, value) => {
    if (name !== 'skein-timeout') throw unknownHeader(name)
    timeoutMs = parseSeconds(value, 'Skein-Timeout')
    if (timeoutMs <= LIMITS.requestTimeoutMaxMs) return
    const most = LIMITS.requestTimeoutMaxMs / 1000
    throw optionError('Skein-Timeout', `'${value}' is more than ${most} seconds.`)
  })
  return { ...message, timeoutMs }
}

export function addRequestRoute(
  app: FastifyInstance,
  components: { node: SkeinNode; signal: AbortSignal }
): void {
  const { node, signal } = components
  app.post(`${PREFIX}/:service`, async (request, reply) => {
    const target = request.raw.url ?? ''
    readQuery(target, [])
    const service = decodeSegment(pathOf(target).slice(PREFIX.length + 1), 'service')
    const options = readOptions(request.headers)
    const body = await readBody(request.raw, LIMITS.payloadBytes, signal)
    // Who goes away cancels what it asked for.
    const gone = AbortSignal.any([signal, goneSignal(reply.raw)])
    const answer = await node.request(service, body, { ...options, signal: gone })
    return reply
      .headers(asHttpHeaders(answer.headers))
      .headers({
        'content-type': asHttpType(answer.contentType),
        'x-content-type-options': 'nosniff',
        'skein-responder': answer.responder
      })
      .send(Buffer.from(answer.payload))
  })
}
