import { createHash } from 'node:crypto'
import { z } from 'zod'
import { eventSchemas } from '../events/event-schemas.ts'
import { pageHeaders } from '../page-headers.ts'
import { commandSchemas } from '../websocket/commands.ts'
import { pushSchemas } from '../websocket/pushes.ts'
import type { Api } from './api.ts'
import { asyncApiOf } from './asyncapi.ts'
import { PAGE_STYLE } from './docs-page-style.ts'
import { docsPageOf } from './docs-page.ts'
import type { JsonSchema } from './json-schemas.ts'
import { openApiOf } from './openapi.ts'
import { json, plain, route } from './route.ts'

// They say nothing of this node, and people look at them before they have a token.
const shared = { method: 'GET', tag: 'Documents', access: 'page' } as const

const getOpenApi = route({
  ...shared,
  path: '/openapi.json',
  operation: 'getOpenApi',
  summary: 'This interface as an OpenAPI 3.1 document.',
  answers: { 200: json(z.looseObject({ openapi: z.string() }), 'The document.') }
})

const getAsyncApi = route({
  ...shared,
  path: '/asyncapi.json',
  operation: 'getAsyncApi',
  summary: 'Event streams and WebSockets as an AsyncAPI 3 document.',
  answers: { 200: json(z.looseObject({ asyncapi: z.string() }), 'The document.') }
})

const getDocsPage = route({
  ...shared,
  path: '/docs/api',
  operation: 'getDocsPage',
  summary: 'This interface as a page for people.',
  answers: { 200: plain('text/html', 'The page.') }
})

const digest = createHash('sha256').update(PAGE_STYLE).digest('base64')
const HEADERS = {
  ...pageHeaders({ 'style-src': `'sha256-${digest}'` }),
  'cache-control': 'no-cache'
}

/** Describes the routes of `api`, those that are added later included; made when somebody asks first. */
export function addDocumentRoutes(api: Api, components: { version: () => string }): void {
  let described: JsonSchema | undefined
  const describe = (): JsonSchema => {
    described ??= openApiOf(api.routes, components.version())
    return described
  }
  let streams: JsonSchema | undefined
  let page: string | undefined
  api.add(getOpenApi, () => describe())
  api.add(getAsyncApi, () => {
    streams ??= asyncApiOf({
      version: components.version(),
      events: eventSchemas,
      commands: commandSchemas,
      pushes: pushSchemas
    })
    return streams
  })
  api.add(getDocsPage, ({ reply }) => {
    page ??= docsPageOf(describe())
    return reply.headers(HEADERS).type('text/html; charset=utf-8').send(page)
  })
}
