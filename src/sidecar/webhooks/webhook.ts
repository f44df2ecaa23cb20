import { z } from 'zod'
import { LIMITS } from '../../core/limits.ts'

/** Headers that say what the request is, or belong to the connection: a registration cannot set them. */
const OWN_HEADERS =
  /^(?:ce-.*|skein-.*|content-.*|connection|expect|host|keep-alive|te|trailer|traceparent|tracestate|transfer-encoding|upgrade)$/i
const TOKEN = /^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/
const VALUE = /^[\t\u0020-\u007e]*$/

const headersSchema = z
  .record(z.string(), z.string())
  .refine((headers) => Object.keys(headers).every((name) => TOKEN.test(name)), {
    error: 'has a name that no HTTP header can have'
  })
  .refine((headers) => !Object.keys(headers).some((name) => OWN_HEADERS.test(name)), {
    error:
      'has one of ce-*, skein-*, content-*, traceparent and those of the connection, which the node sets'
  })
  .refine((headers) => Object.values(headers).every((value) => VALUE.test(value)), {
    error: 'has a value with other characters than printable ASCII'
  })
  .refine((headers) => JSON.stringify(headers).length <= LIMITS.webhookHeadersBytes, {
    error: `is larger than ${LIMITS.webhookHeadersBytes} bytes`
  })
  .transform((headers) =>
    Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
  )

/** Where the messages of a subscription are pushed to, and how. */
const webhookObject = z.strictObject({
  url: z
    .url({ protocol: /^https?$/, error: 'is not an http or https URL' })
    .max(2048)
    .refine((url) => URL.canParse(url) && new URL(url).username === '', {
      error: 'has a user name; put credentials into headers, like { "authorization": "Basic ..." }'
    }),
  concurrency: z.int().min(1).max(LIMITS.cursorRanges).default(LIMITS.webhookConcurrency),
  timeoutMs: z
    .int()
    .min(LIMITS.ackTimeoutLeastMs)
    .max(LIMITS.webhookTimeoutMaxMs)
    .default(LIMITS.webhookTimeoutMs),
  mode: z.enum(['binary', 'structured']).default('binary'),
  headers: headersSchema.default({})
})

/** The `webhook` of a registration: an object, or the URL alone. */
export const webhookSchema = z.preprocess(
  (value) => (typeof value === 'string' ? { url: value } : value),
  webhookObject
)

export type Webhook = Readonly<z.output<typeof webhookObject>>

/** What pushing to a webhook comes to. */
export interface WebhookStatus extends Omit<Webhook, 'headers'> {
  /** Names of the headers that go with each push; their values are not shown. */
  readonly headers: readonly string[]
  /**
   * `failing`: the endpoint is not there, asks for later, or fails again and again; it is tried with one message now and
   * then. `paused`: it answered 410, and nothing is pushed until it is registered again.
   */
  readonly state: 'pushing' | 'failing' | 'paused'
  /** When that began. */
  readonly since: Date
  /** Requests under way. */
  readonly inFlight: number
  /** Pushes that failed since the last one that did not. */
  readonly failures: number
  readonly lastError: string | undefined
  readonly lastErrorAt: Date | undefined
}

/** A `WebhookStatus` in an answer. */
export const webhookStatusSchema = z
  .object({
    url: z.string(),
    concurrency: z.int(),
    timeoutMs: z.int(),
    mode: z.enum(['binary', 'structured']),
    headers: z.array(z.string()).meta({ description: 'Their names only.' }),
    state: z.enum(['pushing', 'failing', 'paused']),
    since: z.iso.datetime().meta({ description: 'When that began.' }),
    inFlight: z.int().meta({ description: 'Requests under way.' }),
    failures: z.int().meta({ description: 'Pushes that failed since the last one that did not.' }),
    lastError: z.string().optional(),
    lastErrorAt: z.iso.datetime().optional()
  })
  .meta({ id: 'WebhookStatus' })
