import { z } from 'zod'
import type { SkeinError } from '../../core/errors.ts'
import type { Gap, ServiceReply, ServiceRequest } from '../../node/contract.ts'
import { problemSchema } from '../api/problem-schema.ts'
import { cloudEventSchema, gapSchema } from '../api/shapes.ts'
import { dataJson } from '../events/cloud-event.ts'
import { problemOf } from '../problem.ts'
import type { Ref } from './commands.ts'

const ref = z.union([z.string(), z.int()])
const subscription = z.int()
const content = {
  data: z.unknown().optional(),
  data_base64: z.string().optional(),
  contentType: z.string().optional(),
  headers: z.record(z.string(), z.string())
}

/** Everything that the node sends over a WebSocket, by `type`. */
export const pushSchemas = {
  /** A command is done; what else stands in it depends on the command. */
  ok: z.looseObject({ type: z.literal('ok'), ref }),
  /** A command failed, a frame could not be read (no `ref`), or a subscription ended by itself (`subscription`). */
  error: z.strictObject({
    type: z.literal('error'),
    ref: ref.optional(),
    subscription: subscription.optional(),
    error: problemSchema
  }),
  message: z.strictObject({
    type: z.literal('message'),
    subscription,
    cursor: z.string(),
    event: cloudEventSchema
  }),
  gap: z.strictObject({
    type: z.literal('gap'),
    subscription,
    gap: gapSchema
  }),
  /** To be answered by `reply` with the same `request`. */
  request: z.strictObject({
    type: z.literal('request'),
    request: z.int(),
    service: z.string(),
    /** PeerId of who asks. */
    from: z.string(),
    /** How long it waits. */
    timeoutMs: z.number().optional(),
    ...content
  })
} as const

export function okText(to: Ref, result: object): string {
  return JSON.stringify({ type: 'ok', ref: to, ...result })
}

export function errorText(
  error: SkeinError,
  of: { ref?: Ref | undefined; subscription?: number }
): string {
  return JSON.stringify({ type: 'error', ...of, error: problemOf(error) })
}

/** `event` is its JSON. */
export function messageText(of: number, cursor: string, event: string): string {
  return `{"type":"message","subscription":${of},"cursor":"${cursor}","event":${event}}`
}

export function gapText(of: number, gap: Gap): string {
  return JSON.stringify({ type: 'gap', subscription: of, gap })
}

export function requestText(id: number, request: ServiceRequest): string {
  const { contentType, from, headers, service, timeoutMs } = request
  const known = { type: 'request', request: id, service, from, timeoutMs, contentType, headers }
  return JSON.stringify(known).slice(0, -1) + dataJson(request, 'auto') + '}'
}

/** The answer to `request`: numbers in its data stay as they were written. */
export function replyText(to: Ref, reply: ServiceReply): string {
  const { contentType, headers, responder } = reply
  const known = { type: 'ok', ref: to, responder, contentType, headers }
  return JSON.stringify(known).slice(0, -1) + dataJson(reply, 'auto') + '}'
}
