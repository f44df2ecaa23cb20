import type { z } from 'zod'
import { expect } from 'vitest'
import { problemSchema } from '../../src/sidecar/api/problem-schema.ts'
import type { Route } from '../../src/sidecar/api/route.ts'
import { errorsOf } from '../../src/sidecar/api/route-errors.ts'
import { eventSchemas } from '../../src/sidecar/events/event-schemas.ts'
import type { Answer } from './http-client.ts'

/** What an answer has beyond its schema is left out by the schema: then the two differ. */
function expectFits(schema: z.ZodType, json: unknown, what: string): void {
  const { data, error } = schema.safeParse(json)
  expect({ what, error, json: data }).toEqual({ what, error: undefined, json })
}

/** An event of a stream is one that the documents describe. */
export function assertEventDescribed({ data, event }: { data: string; event: string }): void {
  expect(Object.keys(eventSchemas)).toContain(event)
  const schema = eventSchemas[event as keyof typeof eventSchemas]
  expectFits(schema, JSON.parse(data), `${event}: ${data.slice(0, 500)}`)
}

/** The answer of a server is one that its documents describe. */
export function assertDescribed(
  routes: readonly Route[],
  { method, path }: { method: string; path: string },
  answer: Answer
): void {
  const { status } = answer
  const what = `${method} ${path}: ${status} ${answer.text.slice(0, 500)}`
  const type = answer.headers['content-type']?.split(';')[0]
  const [pathname = ''] = path.split('?')
  const route = routes.find((one) => one.method === method && one.pattern.test(pathname))
  if (type === 'application/problem+json') {
    expectFits(problemSchema, answer.json(), what)
    const { code } = answer.problem()
    const codes = route === undefined ? [code] : (errorsOf(route).get(status) ?? [])
    expect({ what, codes }).toEqual({ what, codes: expect.arrayContaining([code]) })
    return
  }
  if (route === undefined) return
  const described = route.answers[status]
  const wanted = described === undefined ? 'none such' : described.type
  expect({ what, type: wanted === '*/*' ? type : wanted }).toEqual({ what, type })
  if (described?.schema !== undefined) expectFits(described.schema, answer.json(), what)
}
