import { z } from 'zod'
import { ERRORS } from '../../core/errors.ts'
import type { ErrorCode } from '../../core/errors.ts'

const codes = Object.keys(ERRORS) as [ErrorCode, ...ErrorCode[]]

/** RFC 9457, as `problemOf` writes it. */
export const problemSchema = z
  .object({
    type: z.string().meta({ description: 'urn:skein:error:<code>' }),
    title: z.string().meta({ description: 'What the code means.' }),
    status: z.int(),
    detail: z.string().meta({ description: 'What happened this time.' }),
    code: z.enum(codes).meta({ description: 'To branch on: texts may change.' }),
    retryable: z.boolean().meta({ description: 'May the same call succeed later, unchanged?' }),
    details: z.record(z.string(), z.unknown()).meta({ description: 'Facts, by code.' })
  })
  .meta({ id: 'Problem', description: 'An error (RFC 9457).' })
