import specs from '@asyncapi/specs'
import { Ajv } from 'ajv'
import { describe, expect, it } from 'vitest'
import { eventSchemas } from '../../src/sidecar/events/event-schemas.ts'
import { commandSchemas } from '../../src/sidecar/websocket/commands.ts'
import { pushSchemas } from '../../src/sidecar/websocket/pushes.ts'
import { startBench } from './http-client.ts'

interface Document {
  readonly asyncapi: string
  readonly channels: Readonly<
    Record<string, { readonly messages: Readonly<Record<string, { readonly name: string }>> }>
  >
  readonly operations: Readonly<Record<string, unknown>>
}

async function documentOf(): Promise<Document> {
  const b = await startBench()
  const answer = await b.call('/asyncapi.json', { token: null })
  expect(answer.status).toBe(200)
  return answer.json()
}

/** What a pointer like `#/channels/events` points at. */
function at(document: unknown, pointer: string): unknown {
  const path = pointer.slice(2).split('/')
  return path.reduce<unknown>((part, key) => (part as Record<string, unknown>)[key], document)
}

function pointersIn(part: unknown): string[] {
  if (typeof part !== 'object' || part === null) return []
  const own = (part as { $ref?: unknown }).$ref
  const within = Object.values(part).flatMap(pointersIn)
  return typeof own === 'string' ? [own, ...within] : within
}

describe('sidecar AsyncAPI', () => {
  it('asyncapi: the document fits the official schema of AsyncAPI 3.0', async () => {
    const schema = specs.schemasWithoutId['3.0.0'] as object
    const validate = new Ajv({ strict: false, validateFormats: false }).compile(schema)
    validate(await documentOf())
    expect(validate.errors).toBeNull()
  })

  it('asyncapi: every pointer in it points at something', async () => {
    const document = await documentOf()
    const pointers = pointersIn(document)
    expect(pointers.length).toBeGreaterThan(40)
    expect(pointers.filter((pointer) => at(document, pointer) === undefined)).toEqual([])
  })

  it('asyncapi: has every event, command and push', async () => {
    const { channels, operations } = await documentOf()
    const namesOf = (channel: string): string[] =>
      Object.values(channels[channel]?.messages ?? {}).map(({ name }) => name)
    expect(namesOf('events')).toEqual(Object.keys(eventSchemas))
    expect(namesOf('frames')).toEqual([...Object.keys(commandSchemas), ...Object.keys(pushSchemas)])
    expect(Object.keys(operations)).toEqual(expect.arrayContaining(Object.keys(commandSchemas)))
  })
})
