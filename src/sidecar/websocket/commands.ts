import { z } from 'zod'
import { SkeinError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { WhereFilter } from '../../node/contract.ts'
import { optionError } from '../query.ts'

/** What the client says a command is called, and what its answer says, too. */
const ref = z.union([z.string().max(64), z.int()])

/** What a message, a request and a reply carry: `data`, `data_base64`, or nothing. */
const content = {
  /** A text stands for itself, unless `contentType` is JSON; any other value is sent as JSON. */
  data: z.unknown().optional(),
  data_base64: z.base64().optional(),
  contentType: z.string().optional(),
  headers: z.record(z.string(), z.string()).optional()
}

const subscription = z.int().min(1)
const messageIds = z.array(z.string()).min(1).max(LIMITS.cursorRanges)
const service = z.string()

/** Everything that a client may send over a WebSocket, by `type`. */
export const commandSchemas = {
  publish: z.strictObject({
    type: z.literal('publish'),
    ref,
    topic: z.string(),
    ...content,
    key: z.string().optional(),
    ttlMs: z.number().optional(),
    priority: z.number().optional(),
    /** RFC 3339. */
    deliverAt: z.string().optional(),
    id: z.string().optional(),
    retain: z.boolean().optional(),
    confirm: z
      .union([
        z.enum(['stored', 'sent']),
        z.strictObject({ replicas: z.number(), timeoutMs: z.number().optional() })
      ])
      .optional()
  }),
  send: z.strictObject({
    type: z.literal('send'),
    ref,
    /** Name or PeerId. */
    peer: z.string(),
    topic: z.string(),
    ...content,
    key: z.string().optional(),
    ttlMs: z.number().optional(),
    custodians: z.number().optional()
  }),
  request: z.strictObject({
    type: z.literal('request'),
    ref,
    service,
    ...content,
    timeoutMs: z.number().optional()
  }),
  subscribe: z.strictObject({
    type: z.literal('subscribe'),
    ref,
    filter: z.string().optional(),
    durable: z.string().optional(),
    group: z.string().optional(),
    from: z.union([z.string(), z.strictObject({ cursor: z.string() })]).optional(),
    where: z.custom<readonly WhereFilter[]>(Array.isArray, 'is not an array of filters').optional(),
    ack: z.enum(['auto', 'manual']).optional(),
    maxInFlight: z.int().min(1).max(LIMITS.cursorRanges).optional(),
    ackTimeoutMs: z.int().min(LIMITS.ackTimeoutLeastMs).optional(),
    maxDeliveries: z.int().min(0).optional(),
    gapTimeoutMs: z.int().min(0).optional(),
    onGap: z.enum(['wait', 'skip']).optional(),
    onPartition: z
      .union([
        z.literal('available'),
        z.strictObject({ majority: z.int().min(2).max(LIMITS.groupMajority) })
      ])
      .optional(),
    /** `base64`: always the exact bytes, in `data_base64`. */
    data: z.enum(['auto', 'base64']).optional()
  }),
  unsubscribe: z.strictObject({ type: z.literal('unsubscribe'), ref, subscription }),
  ack: z.strictObject({ type: z.literal('ack'), ref, subscription, ids: messageIds }),
  nack: z.strictObject({
    type: z.literal('nack'),
    ref,
    subscription,
    ids: messageIds,
    delayMs: z.int().min(0).optional(),
    /** Stands in the dead letter. */
    error: z.string().optional()
  }),
  serve: z.strictObject({
    type: z.literal('serve'),
    ref,
    service,
    concurrency: z.int().min(1).max(LIMITS.serviceConcurrency).optional()
  }),
  unserve: z.strictObject({ type: z.literal('unserve'), ref, service }),
  reply: z.strictObject({
    type: z.literal('reply'),
    ref,
    /** Of the push that it answers. */
    request: z.int().min(1),
    ...content,
    /** The caller gets ERR_RESPONDER with this message, and the code in `details.code`. */
    error: z.strictObject({ message: z.string(), code: z.string().optional() }).optional()
  })
} as const

export type CommandType = keyof typeof commandSchemas
export type Command<Type extends CommandType = CommandType> = {
  [Each in Type]: z.output<(typeof commandSchemas)[Each]>
}[Type]
export type Ref = z.output<typeof ref>

function isType(type: unknown): type is CommandType {
  return typeof type === 'string' && Object.hasOwn(commandSchemas, type)
}

/** A frame that is JSON, and its `ref` where it has one. */
export interface Frame {
  readonly value: Readonly<Record<string, unknown>>
  readonly ref: Ref | undefined
}

/** Throws ERR_OPTIONS. */
export function parseFrame(text: string): Frame {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new SkeinError('ERR_OPTIONS', `The frame is not JSON: ${(error as Error).message}.`, {
      details: { option: 'frame' }
    })
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw optionError('frame', 'is not a JSON object like { "type": "publish", "ref": 1, ... }.')
  }
  const parsed = ref.safeParse((value as { ref?: unknown }).ref)
  return { value: value as Frame['value'], ref: parsed.success ? parsed.data : undefined }
}

/** Throws ERR_OPTIONS naming the field. */
export function parseCommand({ value }: Frame): Command {
  const { type } = value
  if (!isType(type)) {
    const known = Object.keys(commandSchemas).join(', ')
    throw optionError('type', `'${String(type)}' is not one of ${known}.`)
  }
  const parsed = commandSchemas[type].safeParse(value)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  const field = issue?.path.join('.') || (issue?.code === 'unrecognized_keys' ? issue.keys[0] : '')
  throw optionError(field || 'frame', issue?.message ?? 'is not as expected.')
}
