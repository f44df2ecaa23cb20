import type { JsonSchema } from './json-schemas.ts'
import { PAGE_STYLE } from './docs-page-style.ts'
import { schemaHtml } from './docs-page-schema.ts'
import { codesHtml, escapeHtml, textHtml } from './docs-page-text.ts'

/** The parts of an OpenAPI document that the page shows. */
interface Described {
  readonly info: { readonly title: string; readonly version: string; readonly summary: string }
  readonly tags: ReadonlyArray<{ readonly name: string }>
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  /** Requests that the node makes itself. */
  readonly webhooks: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: { readonly schemas: Readonly<Record<string, JsonSchema>> }
}

interface Operation {
  readonly operationId: string
  readonly tags: readonly string[]
  readonly summary: string
  readonly description?: string
  readonly security?: readonly object[]
  readonly parameters?: readonly Parameter[]
  readonly requestBody?: Content
  readonly responses: Readonly<Record<string, Content>>
}

interface Parameter {
  readonly name: string
  readonly in: string
  readonly required?: boolean
  readonly description?: string
  readonly schema: JsonSchema
}

interface Content {
  readonly description?: string
  readonly headers?: Readonly<Record<string, { readonly description: string }>>
  readonly content?: Readonly<Record<string, { readonly schema?: JsonSchema }>>
}

interface Entry {
  readonly method: string
  readonly path: string
  readonly operation: Operation
}

const PROBLEM = 'application/problem+json'

/** An OpenAPI document, as this module makes it, as a page for people: no scripts, nothing from elsewhere. */
export function docsPageOf(document: JsonSchema): string {
  const { components, info, paths, tags, webhooks } = document as unknown as Described
  const all = [...Object.entries(paths), ...Object.values(webhooks).map(toWebhook)]
  const entries = all.flatMap(([path, operations]) =>
    Object.entries(operations).map(([method, operation]) => ({
      method: method.toUpperCase(),
      path,
      operation
    }))
  )
  const names = tags.map(({ name }) => name)
  const title = `${info.title} ${info.version}`
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${escapeHtml(title)}</title>
<style>${PAGE_STYLE}</style>
</head>
<body>
<header>
<h1>${escapeHtml(title)}</h1>
<p>${escapeHtml(info.summary)} For programs: <a href="/openapi.json">/openapi.json</a>, and
<a href="/asyncapi.json">/asyncapi.json</a> for event streams and WebSockets.</p>
</header>
<nav>${[...names, 'Schemas'].map(linkHtml).join('\n')}</nav>
<main>
${names.map((name) => sectionHtml(name, entries)).join('\n')}
<section id="Schemas"><h2>Schemas</h2>
${Object.entries(components.schemas).map(namedSchemaHtml).join('\n')}
</section>
</main>
</body>
</html>
`
}

/** A webhook has the path that its URL says. */
function toWebhook<Operations>(operations: Operations): [string, Operations] {
  return ['<webhook>', operations]
}

function idOf(name: string): string {
  return name.replaceAll(' ', '-')
}

function linkHtml(name: string): string {
  return `<a href="#${idOf(name)}">${escapeHtml(name)}</a>`
}

function sectionHtml(name: string, entries: readonly Entry[]): string {
  const own = entries.filter(({ operation }) => operation.tags.includes(name))
  return `<section id="${idOf(name)}"><h2>${escapeHtml(name)}</h2>\n${own.map(operationHtml).join('\n')}\n</section>`
}

function operationHtml({ method, operation, path }: Entry): string {
  const { description, operationId, parameters = [], requestBody, security, summary } = operation
  const rows = parameters.map(parameterHtml)
  return `<article id="${operationId}">
<h3><a href="#${operationId}"><b>${method}</b> <code>${escapeHtml(path)}</code></a></h3>
<p>${textHtml(summary)}${security?.length === 0 ? ' <em>Without a token.</em>' : ''}</p>
${description === undefined ? '' : `<p>${textHtml(description)}</p>`}
${rows.length === 0 ? '' : `<h4>Parameters</h4><table>${rows.join('\n')}</table>`}
${requestBody === undefined ? '' : `<h4>Body</h4>${contentHtml(requestBody)}`}
<h4>Answers</h4>${answersHtml(operation)}
</article>`
}

function parameterHtml({ description = '', in: place, name, required, schema }: Parameter): string {
  const needed = required === true ? ', needed' : ''
  return `<tr><td><code>${escapeHtml(name)}</code><br><small>${place}${needed}</small></td><td>${schemaHtml(schema)}</td><td>${textHtml(description)}</td></tr>`
}

function contentHtml({ content = {}, description, headers = {} }: Content): string {
  const types = Object.entries(content).map(([type, { schema = {} }]) => {
    const own = schema['description']
    const what = typeof own === 'string' ? textHtml(own) : ''
    return `<div><code>${escapeHtml(type)}</code> ${what} ${schemaHtml(schema)}</div>`
  })
  const named = Object.entries(headers).map(
    ([name, header]) =>
      `<div><code>${escapeHtml(name)}</code> ${textHtml(header.description)}</div>`
  )
  return `${description === undefined ? '' : textHtml(description)}${[...types, ...named].join('\n')}`
}

function answersHtml({ responses }: Operation): string {
  const rows = Object.entries(responses).map(([status, response]) => {
    const isProblem = response.content?.[PROBLEM] !== undefined
    const what = isProblem ? codesHtml(response.description ?? '') : contentHtml(response)
    return `<tr><td>${status}</td><td>${what}</td></tr>`
  })
  return `<table>${rows.join('\n')}</table>`
}

function namedSchemaHtml([name, schema]: [string, JsonSchema]): string {
  const description = schema['description']
  const text = typeof description === 'string' ? `<p>${textHtml(description)}</p>` : ''
  return `<article id="schema-${name}"><h3>${name}</h3>${text}${schemaHtml(schema)}</article>`
}
