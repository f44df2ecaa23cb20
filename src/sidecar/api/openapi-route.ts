import { z } from 'zod'
import type { Api } from './api.ts'
import { openApiOf } from './openapi.ts'
import { json, route } from './route.ts'

const getOpenApi = route({
  method: 'GET',
  path: '/openapi.json',
  tag: 'Documents',
  operation: 'getOpenApi',
  summary: 'This interface as an OpenAPI 3.1 document.',
  access: 'page',
  answers: { 200: json(z.looseObject({ openapi: z.string() }), 'The document.') }
})

/** Describes the routes of `api`, those that are added later included. */
export function addOpenApiRoute(api: Api, components: { version: () => string }): void {
  let document: string | undefined
  api.add(getOpenApi, ({ reply }) => {
    document ??= JSON.stringify(openApiOf(api.routes, components.version()))
    reply.type('application/json; charset=utf-8')
    return document
  })
}
