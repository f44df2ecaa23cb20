import { z } from 'zod'
import { problemSchema } from '../api/problem-schema.ts'
import { cloudEventSchema, gapSchema } from '../api/shapes.ts'

/** What the data of each event of an event stream is, by its `event:` line. */
export const eventSchemas = {
  ready: z
    .object({
      filter: z.string(),
      durable: z.string().optional(),
      group: z.string().optional()
    })
    .meta({ id: 'Ready', description: 'The subscription is open: first of all events.' }),
  message: cloudEventSchema,
  gap: gapSchema,
  error: problemSchema
} as const
