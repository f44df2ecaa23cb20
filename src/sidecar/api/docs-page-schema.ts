import type { JsonSchema } from './json-schemas.ts'
import { escapeHtml, textHtml } from './docs-page-text.ts'

const code = (value: unknown): string => `<code>${escapeHtml(JSON.stringify(value))}</code>`

const isSchema = (value: unknown): value is JsonSchema =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** A JSON schema in a few words, with a table where it has fields. */
export function schemaHtml(schema: JsonSchema): string {
  const { $ref: ref, anyOf, const: only, default: fallback, enum: values } = schema
  if (typeof ref === 'string') {
    const name = ref.split('/').at(-1) ?? ''
    return `<a href="#schema-${name}">${name}</a>`
  }
  if (only !== undefined) return code(only)
  const after = fallback === undefined ? '' : `, default ${code(fallback)}`
  if (Array.isArray(values)) return `${values.map(code).join(' | ')}${after}`
  if (Array.isArray(anyOf)) return `${(anyOf as JsonSchema[]).map(schemaHtml).join(' or ')}${after}`
  return `${typeHtml(schema)}${after}`
}

function typeHtml(schema: JsonSchema): string {
  const { additionalProperties, items, properties, type } = schema
  if (isSchema(properties)) return fieldsHtml(properties, schema['required'])
  if (type === 'array') return `array${isSchema(items) ? ` of ${schemaHtml(items)}` : ''}`
  if (type === 'object') {
    const of = isSchema(additionalProperties) ? schemaHtml(additionalProperties) : ''
    return of === '' ? 'object' : `object of ${of}`
  }
  if (type === undefined) return ''
  const { format, maxItems, maxLength, maximum, minLength, minimum } = schema
  const range = rangeText(minimum ?? minLength, maximum ?? maxLength ?? maxItems)
  const name = typeof format === 'string' ? format : (type as string)
  const { exclusiveMinimum: above } = schema
  return `${escapeHtml(name)}${range}${above === undefined ? '' : ` above ${JSON.stringify(above)}`}`
}

function rangeText(min: unknown, max: unknown): string {
  if (min === undefined && max === undefined) return ''
  if (max === undefined) return ` from ${JSON.stringify(min)}`
  return min === undefined
    ? ` up to ${JSON.stringify(max)}`
    : ` ${JSON.stringify(min)} to ${JSON.stringify(max)}`
}

function fieldsHtml(properties: JsonSchema, required: unknown): string {
  const needed = new Set(Array.isArray(required) ? (required as string[]) : [])
  const rows = Object.entries(properties).map(([name, value]) => {
    const field = isSchema(value) ? value : {}
    const { description } = field
    const text = typeof description === 'string' ? textHtml(description) : ''
    const mark = needed.has(name) ? '' : '<br><small>may be left out</small>'
    return `<tr><td><code>${escapeHtml(name)}</code>${mark}</td><td>${schemaHtml(field)}</td><td>${text}</td></tr>`
  })
  return rows.length === 0 ? 'empty object' : `<table>${rows.join('')}</table>`
}
