import { z } from 'zod'

/** A schema in JSON, as it stands in a document. */
export type JsonSchema = Record<string, unknown>

const LOCAL = '#/$defs/'
const SHARED = '#/components/schemas/'

/** The schemas of one document: those with an id stand in its components once, and are pointed at. */
export class JsonSchemas {
  readonly #components = new Map<string, JsonSchema>()

  /** By id, sorted. */
  get components(): Record<string, JsonSchema> {
    return Object.fromEntries([...this.#components].toSorted(([a], [b]) => (a < b ? -1 : 1)))
  }

  /** `input`: what may be sent, where defaults may be left out. `output`: what is answered. */
  of(schema: z.ZodType, io: 'input' | 'output'): JsonSchema {
    const { $defs, ...own } = z.toJSONSchema(schema, {
      io,
      unrepresentable: 'any',
      override: ({ jsonSchema }) => simplify(jsonSchema, io)
    }) as JsonSchema
    for (const [id, shared] of Object.entries(($defs ?? {}) as Record<string, JsonSchema>)) {
      if (!this.#components.has(id)) this.#components.set(id, pointed(shared))
    }
    // The document says once which dialect it is.
    delete own['$schema']
    return pointed(own)
  }
}

function pointed(schema: JsonSchema): JsonSchema {
  return JSON.parse(JSON.stringify(schema).replaceAll(LOCAL, SHARED)) as JsonSchema
}

/** Leaves out what says nothing to a reader, and lets answers grow. */
function simplify(schema: JsonSchema, io: 'input' | 'output'): void {
  // A later version may answer with more.
  if (io === 'output' && schema['additionalProperties'] === false) {
    delete schema['additionalProperties']
  }
  if (schema['format'] !== undefined) delete schema['pattern']
  if (schema['maximum'] === Number.MAX_SAFE_INTEGER) delete schema['maximum']
  if (schema['minimum'] === Number.MIN_SAFE_INTEGER) delete schema['minimum']
}
