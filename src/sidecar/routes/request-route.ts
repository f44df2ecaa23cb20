import { LIMITS } from '../../core/limits.ts'
import type { SkeinNode } from '../../node/contract.ts'
import type { Api } from '../api/api.ts'
import { header, optional, seconds } from '../api/parameters.ts'
import { messageBody, plain, route } from '../api/route.ts'
import { asHttpHeaders, asHttpType } from '../message-headers.ts'
import { readBody } from '../request-body.ts'
import { goneSignal } from '../waiting.ts'

const askService = route({
  method: 'POST',
  path: '/v1/request/{service}',
  tag: 'Requests',
  operation: 'request',
  summary: 'Asks a node that serves it, and gives its answer.',
  description: 'Who closes the connection cancels the request.',
  headers: {
    timeoutMs: header(
      'Skein-Timeout',
      optional(seconds(LIMITS.requestTimeoutMaxMs), 'Seconds to wait for the answer. Default 10.')
    )
  },
  body: messageBody('What is asked.'),
  answers: {
    200: plain('*/*', 'The payload of the reply; its headers are `Skein-Header-<name>`.', {
      'Skein-Responder': 'PeerId of the node that answered.'
    })
  },
  errors: [
    'ERR_RESPONDER',
    'ERR_NO_RESPONDERS',
    'ERR_STREAM',
    'ERR_BUSY',
    'ERR_PAYLOAD',
    'ERR_TIMEOUT'
  ]
})

export function addRequestRoute(
  api: Api,
  components: { node: SkeinNode; signal: AbortSignal }
): void {
  const { node, signal } = components
  api.add(askService, async ({ headers, message, path, reply, request }) => {
    const body = await readBody(request.raw, LIMITS.payloadBytes, signal)
    // Who goes away cancels what it asked for.
    const gone = AbortSignal.any([signal, goneSignal(reply.raw)])
    const options = { ...message, ...headers, signal: gone }
    const answer = await node.request(path.service, body, options)
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
