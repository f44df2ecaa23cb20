import { z } from 'zod'
import { SkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { LOG_LEVELS, type Logger } from '../core/logger.ts'
import type { HistoryOptions, SubscribeOptions } from '../delivery/contract.ts'
import type { RetentionPolicy } from '../store/contract.ts'
import { parseFilter } from '../wire/topic.ts'
import type {
  OpenStreamOptions,
  PublishOptions,
  ReplyOptions,
  RequestOptions,
  ScatterOptions,
  SendOptions
} from './contract.ts'

const HOUR_MS = 3_600_000
const GIB = 1024 ** 3

/** Names stand in file paths, logs and topic levels. */
const name = z
  .string()
  .min(1)
  .max(LIMITS.nameBytes)
  .regex(
    /^[A-Za-z0-9][A-Za-z0-9._-]*$/,
    "may have letters, digits, '.', '_' and '-', and begins with a letter or digit"
  )

const filter = z.string().superRefine((text, context) => {
  try {
    parseFilter(text)
  } catch (error) {
    context.addIssue({ code: 'custom', message: (error as Error).message })
  }
})

const retention = z.strictObject({
  maxAgeMs: z
    .number()
    .positive()
    .optional()
    .describe('Messages older than this are trimmed, ms. Default 24 h.'),
  maxBytes: z
    .number()
    .int()
    .positive()
    .optional()
    .describe('Oldest messages are trimmed above this many bytes. Default 4 GiB.'),
  maxMessages: z
    .number()
    .int()
    .positive()
    .optional()
    .describe('Oldest messages are trimmed above this many. Default: no limit.'),
  keepLast: z
    .number()
    .int()
    .positive()
    .max(1000)
    .optional()
    .describe('Keep only so many newest messages per topic and key. Default: all.'),
  untilReceived: z
    .boolean()
    .optional()
    .describe('Trim also what every known durable subscriber of the mesh has. Default: false.'),
  onFull: z
    .enum(['trim', 'reject'])
    .optional()
    .describe(
      'At `maxBytes` or `maxMessages`, trim the oldest or refuse to publish. Default: trim.'
    )
})

const channelOptions = z.strictObject({ retention: retention.optional() })

const schema = z.strictObject({
  name: name.optional().describe('What people call this node. Default: host name.'),
  mesh: name.default('default').describe('Nodes of one mesh name find each other.'),
  dataDir: z
    .string()
    .min(1)
    .optional()
    .describe('Where logs and the identity are kept. Default of the library: in memory only.'),
  listen: z
    .array(z.string())
    .min(1)
    .optional()
    .describe('Multiaddrs to listen on. Default: every interface, a free port that is kept.'),
  announce: z
    .array(z.string())
    .default([])
    .describe('Multiaddrs to tell others instead of those listened on.'),
  join: z.array(z.string()).default([]).describe('Multiaddrs of nodes to dial, for ever.'),
  mdns: z.boolean().default(true).describe('Find nodes of the same mesh on the local network.'),
  networkKey: z
    .union([z.string().min(1), z.instanceof(Uint8Array)])
    .optional()
    .describe('File with the network key, or its 32 bytes. Default: an open mesh.'),
  previousNetworkKey: z
    .union([z.string().min(1), z.instanceof(Uint8Array)])
    .optional()
    .describe('The key before, accepted too while keys are rotated.'),
  reserveBytes: z
    .number()
    .int()
    .nonnegative()
    .optional()
    .describe(
      'Free disk space below which publishing is refused. Default: 5 % of the file system, 16 MiB to 1 GiB.'
    ),
  payloadBytes: z
    .number()
    .int()
    .positive()
    .max(LIMITS.payloadBytes)
    .default(LIMITS.payloadBytes)
    .describe('Largest payload accepted.'),
  keep: z
    .array(filter)
    .default([])
    .describe('Topic filters whose channels this node holds without a subscription.'),
  custodian: z
    .boolean()
    .optional()
    .describe('Keep sealed messages for peers that are away. Default: true with a data dir.'),
  channels: z
    .record(filter, channelOptions)
    .default({})
    .describe('What to keep, per topic filter; the first that matches the channel counts.'),
  logLevel: z.enum(LOG_LEVELS).default('warn').describe('Level of the log on stderr.')
})

/** Options of `createNode`. Every one has a default. */
export type NodeOptions = z.input<typeof schema> & {
  /** Takes the log instead of stderr. */
  readonly logger?: Logger
}

export type ResolvedOptions = Omit<z.output<typeof schema>, 'channels'> & {
  readonly logger: Logger | undefined
  readonly retention: (channel: string) => RetentionPolicy
}

/** The schema, for those who document it. */
export const nodeOptionsSchema = schema

export const DEFAULT_RETENTION: RetentionPolicy = {
  maxAgeMs: 24 * HOUR_MS,
  maxBytes: 4 * GIB,
  maxMessages: Infinity,
  keepLast: undefined,
  untilReceived: false,
  onFull: 'trim'
}

/** Somebody has to look at dead letters: a fortnight outlasts most absences. */
const DEAD_LETTER_RETENTION: RetentionPolicy = { ...DEFAULT_RETENTION, maxAgeMs: 14 * 24 * HOUR_MS }

/** Checks the options and fills in the defaults. Throws ERR_OPTIONS; the message and `details.option` name the option. */
export function resolveOptions(options: NodeOptions = {}): ResolvedOptions {
  const { logger, ...plain } = options
  const result = schema.safeParse(plain)
  if (!result.success) throw optionError(result.error, schema.shape)
  const { channels, ...rest } = result.data
  return { ...rest, logger, retention: retentionOf(channels) }
}

function optionError(error: z.ZodError, shape: object): SkeinError {
  const issue = error.issues[0]
  const unknown = issue?.code === 'unrecognized_keys' ? issue.keys[0] : undefined
  const path = [...(issue?.path ?? []), ...(unknown === undefined ? [] : [unknown])]
  const option = path.map(String).join('.')
  const known = Object.keys(shape).join(', ')
  const text =
    unknown === undefined
      ? `${option}: ${issue?.message ?? 'invalid'}`
      : `${option}: there is no such option; there are ${known}`
  return new SkeinError('ERR_OPTIONS', text, { details: { option }, cause: error })
}

function retentionOf(
  channels: z.output<typeof schema>['channels']
): (channel: string) => RetentionPolicy {
  const rules = Object.entries(channels).map(([text, options]) => ({
    filter: parseFilter(text),
    policy: withDefaults(options.retention ?? {})
  }))
  return (channel) =>
    rules.find((rule) => rule.filter.matchesChannel(channel))?.policy ??
    (channel.startsWith('$dlq/') ? DEAD_LETTER_RETENTION : DEFAULT_RETENTION)
}

function withDefaults(asked: z.output<typeof retention>): RetentionPolicy {
  return {
    // A table of last values is kept for as long as it is not replaced, unless asked otherwise.
    maxAgeMs:
      asked.maxAgeMs ?? (asked.keepLast === undefined ? DEFAULT_RETENTION.maxAgeMs : Infinity),
    maxBytes: asked.maxBytes ?? DEFAULT_RETENTION.maxBytes,
    maxMessages: asked.maxMessages ?? DEFAULT_RETENTION.maxMessages,
    keepLast: asked.keepLast,
    untilReceived: asked.untilReceived ?? DEFAULT_RETENTION.untilReceived,
    onFull: asked.onFull ?? DEFAULT_RETENTION.onFull
  }
}

const subscribeSchema = z.strictObject({
  durable: z.string().optional(),
  group: z.string().optional(),
  onPartition: z
    .union([
      z.literal('available'),
      z.strictObject({ majority: z.number().int().min(2).max(LIMITS.groupMajority) })
    ])
    .optional(),
  from: z
    .union([z.enum(['now', 'earliest', 'last']), z.date(), z.strictObject({ cursor: z.string() })])
    .optional(),
  ack: z.enum(['auto', 'manual']).optional(),
  maxInFlight: z.number().int().min(1).max(LIMITS.cursorRanges).optional(),
  ackTimeoutMs: z.number().int().min(LIMITS.ackTimeoutLeastMs).optional(),
  maxDeliveries: z.number().int().min(0).optional(),
  retry: z
    .strictObject({
      minMs: z.number().int().min(1).optional(),
      maxMs: z.number().int().min(1).optional()
    })
    .optional(),
  gapTimeoutMs: z.number().int().min(0).optional(),
  onGap: z.enum(['wait', 'skip']).optional(),
  where: z.array(z.unknown()).optional(),
  signal: z.instanceof(AbortSignal).optional()
})

/** Throws ERR_OPTIONS naming the option. */
export function checkSubscribeOptions(options: SubscribeOptions): void {
  const result = subscribeSchema.safeParse(options)
  if (!result.success) throw optionError(result.error, subscribeSchema.shape)
}

const historySchema = z.strictObject({
  since: z.date().optional(),
  until: z.date().optional(),
  limit: z.number().int().min(1).optional(),
  order: z.literal('time').optional(),
  after: z.string().optional(),
  signal: z.instanceof(AbortSignal).optional()
})

/** Throws ERR_OPTIONS naming the option. */
export function checkHistoryOptions(options: HistoryOptions): void {
  const result = historySchema.safeParse(options)
  if (!result.success) throw optionError(result.error, historySchema.shape)
}

const field = z
  .string()
  .min(1)
  .refine(
    (text) => Buffer.byteLength(text) <= LIMITS.fieldBytes,
    `has more than ${LIMITS.fieldBytes} bytes`
  )

const publishSchema = z.object({
  id: field.optional(),
  confirm: z
    .union([
      z.enum(['stored', 'sent']),
      z.strictObject({
        replicas: z.number().int().min(1).max(LIMITS.replicas),
        timeoutMs: z.number().int().positive().optional()
      })
    ])
    .optional()
})

/** Checks what is not a figure of the message itself. Throws ERR_OPTIONS naming the option. */
export function checkPublishOptions(options: Pick<PublishOptions, 'id' | 'confirm'>): void {
  const { id, confirm } = options
  // Nearly every publish: a schema would cost more than the rest of the call.
  if (id === undefined && (confirm === undefined || confirm === 'stored')) return
  const result = publishSchema.safeParse({ id, confirm })
  if (!result.success) throw optionError(result.error, publishSchema.shape)
}

const sendSchema = z.strictObject({
  contentType: field.optional(),
  key: field.optional(),
  headers: z.record(z.string(), z.string()).optional(),
  ttlMs: z.number().int().positive().optional(),
  custodians: z.number().int().min(0).max(LIMITS.replicas).optional(),
  signal: z.instanceof(AbortSignal).optional()
})

/** Throws ERR_OPTIONS naming the option. */
export function checkSendOptions(options: SendOptions): void {
  const result = sendSchema.safeParse(options)
  if (!result.success) throw optionError(result.error, sendSchema.shape)
}

const openStreamSchema = z.strictObject({
  peer: z.string().min(1).optional(),
  metadata: z.record(z.string(), z.unknown()).optional(),
  signal: z.instanceof(AbortSignal).optional()
})

/** Throws ERR_OPTIONS naming the option. */
export function checkOpenStreamOptions(options: OpenStreamOptions): void {
  const result = openStreamSchema.safeParse(options)
  if (!result.success) throw optionError(result.error, openStreamSchema.shape)
}

const requestShape = {
  contentType: field.optional(),
  headers: z.record(z.string(), z.string()).optional(),
  timeoutMs: z.number().int().min(1).max(LIMITS.requestTimeoutMaxMs).optional(),
  signal: z.instanceof(AbortSignal).optional()
}
const requestSchema = z.strictObject(requestShape)
const scatterSchema = z.strictObject({
  ...requestShape,
  count: z.number().int().min(1).optional()
})
const replySchema = z.strictObject({ concurrency: z.number().int().min(1).optional() })

/** Throws ERR_OPTIONS naming the option. */
export function checkRequestOptions(options: RequestOptions): void {
  const result = requestSchema.safeParse(options)
  if (!result.success) throw optionError(result.error, requestSchema.shape)
}

/** Throws ERR_OPTIONS naming the option. */
export function checkScatterOptions(options: ScatterOptions): void {
  const result = scatterSchema.safeParse(options)
  if (!result.success) throw optionError(result.error, scatterSchema.shape)
}

/** Throws ERR_OPTIONS naming the option. */
export function checkReplyOptions(options: ReplyOptions): void {
  const result = replySchema.safeParse(options)
  if (!result.success) throw optionError(result.error, replySchema.shape)
}
