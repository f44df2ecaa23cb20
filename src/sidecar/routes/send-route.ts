import { z } from 'zod'
import { SkeinError, isSkeinError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { Sent, SkeinNode } from '../../node/contract.ts'
import type { Api } from '../api/api.ts'
import { header, integer, optional, seconds, utf8 } from '../api/parameters.ts'
import { PUBLISH_ERRORS } from '../api/route-errors.ts'
import { json, messageBody, route } from '../api/route.ts'
import { time } from '../api/shapes.ts'
import { optionError } from '../query.ts'
import { readBody } from '../request-body.ts'
import { goneSignal, within } from '../waiting.ts'

const TAG = 'Messages to one peer'

const sentSchema = z
  .object({
    id: z.string(),
    to: z.string().meta({ description: 'PeerId.' }),
    time,
    delivered: z
      .boolean()
      .optional()
      .meta({ description: 'Its receipt is here; only with `Skein-Wait`.' })
  })
  .meta({ id: 'Sent' })

const outboxEntrySchema = z
  .object({
    id: z.string(),
    to: z.string(),
    toName: z.string().optional(),
    topic: z.string(),
    bytes: z.int(),
    since: time,
    expiresAt: time,
    custodians: z.array(z.string()).meta({ description: 'Peers that keep a copy.' })
  })
  .meta({ id: 'OutboxEntry' })

const sendMessage = route({
  method: 'POST',
  path: '/v1/send/{peer}/{+topic}',
  tag: TAG,
  operation: 'send',
  summary: 'Sends the body to one peer, on or off.',
  names: { peer: 'Name or PeerId of a node.', topic: 'Slashes may stand in it.' },
  headers: {
    key: header('Skein-Key', optional(utf8, 'Key.')),
    ttlMs: header(
      'Skein-TTL',
      optional(seconds(), 'Seconds that it waits for its recipient. Default 7 days, at most 30.')
    ),
    custodians: header(
      'Skein-Custodians',
      optional(
        integer(0, LIMITS.replicas),
        'Connected peers that keep a synced copy before the answer comes. Default 0.'
      )
    ),
    waitMs: header(
      'Skein-Wait',
      optional(
        seconds(LIMITS.receiptWaitMs, '; look into /v1/outbox later'),
        "Seconds to wait for the recipient's receipt."
      )
    )
  },
  body: messageBody('The payload.'),
  answers: {
    200: json(sentSchema, 'Its recipient has it.'),
    202: json(sentSchema, "It is on this node's disk.")
  },
  errors: [
    ...PUBLISH_ERRORS,
    'ERR_PEER_UNKNOWN',
    'ERR_PEER_AMBIGUOUS',
    'ERR_CUSTODIANS',
    'ERR_TIMEOUT'
  ]
})

const listOutbox = route({
  method: 'GET',
  path: '/v1/outbox',
  tag: TAG,
  operation: 'listOutbox',
  summary: 'What waits for whom.',
  answers: {
    200: json(z.object({ entries: z.array(outboxEntrySchema) }), 'Without receipts, oldest first.')
  }
})

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
  api: Api,
  components: { node: SkeinNode; signal: AbortSignal; draining: AbortSignal }
): void {
  const { draining, node, signal } = components
  api.add(sendMessage, async ({ headers, message, path, reply, request }) => {
    const { peer, topic } = path
    if (peer === '' || topic === '') {
      throw optionError('topic', 'is missing; POST to /v1/send/<peer>/<topic>.')
    }
    const { waitMs, ...options } = headers
    const body = await readBody(request.raw, LIMITS.payloadBytes, signal)
    const gone = goneSignal(reply.raw)
    const sent = await node.send(peer, topic, body, { ...options, ...message })
    const { id, to, time } = sent
    // Whoever does not wait learns the end from the outbox and its dead letters.
    sent.delivered.catch(() => {})
    if (waitMs === undefined) return reply.code(202).send({ id, to, time })
    const delivered = await isDelivered(sent, waitMs, AbortSignal.any([draining, gone]))
    return reply.code(delivered ? 200 : 202).send({ id, to, time, delivered })
  })
  api.add(listOutbox, async () => ({ entries: await node.outbox() }))
}
