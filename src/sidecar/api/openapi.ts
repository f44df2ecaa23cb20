import { ERRORS } from '../../core/errors.ts'
import type { ErrorCode } from '../../core/errors.ts'
import { type JsonSchema, JsonSchemas } from './json-schemas.ts'
import type { HeaderParameter, Parameter } from './parameters.ts'
import { problemSchema } from './problem-schema.ts'
import type { Answer, Route, RouteBody } from './route.ts'
import { errorsOf } from './route-errors.ts'
import { webhookOperations } from './webhook-operations.ts'

const NAME = /\{\+?(\w+)\}/g

/** What kind of parameter `in` says. */
type Place = 'path' | 'query' | 'header'

/** The routes of an HTTP interface as an OpenAPI 3.1 document. */
export function openApiOf(routes: readonly Route[], version: string): JsonSchema {
  const schemas = new JsonSchemas()
  const paths: Record<string, JsonSchema> = {}
  for (const route of routes) {
    const path = route.path.replaceAll(NAME, '{$1}')
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operationOf(route, schemas) }
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Skein node',
      summary: 'The HTTP interface of one node of a Skein mesh.',
      version,
      license: { name: 'Apache-2.0 OR MIT', identifier: 'Apache-2.0 OR MIT' }
    },
    servers: [{ url: '/' }],
    security: [{ token: [] }],
    tags: [...new Set(routes.map(({ tag }) => tag))].map((name) => ({ name })),
    paths,
    webhooks: webhookOperations(schemas),
    components: {
      schemas: schemas.components,
      securitySchemes: securityOf(routes)
    }
  }
}

function securityOf(routes: readonly Route[]): JsonSchema {
  const headers = routes.flatMap(({ config }) => config?.tokenHeader ?? [])
  return {
    token: {
      type: 'http',
      scheme: 'bearer',
      description: "The token stands in api.json of the node's data directory."
    },
    ...Object.fromEntries(headers.map((name) => [name, { type: 'apiKey', in: 'header', name }]))
  }
}

function operationOf(route: Route, schemas: JsonSchemas): JsonSchema {
  const { access = 'token', body, config, description, operation, summary, tag } = route
  const parameters = parametersOf(route, schemas)
  const responses: Record<string, JsonSchema> = {}
  for (const [status, answer] of Object.entries(route.answers)) {
    responses[status] = responseOf(answer, schemas)
  }
  for (const [status, codes] of errorsOf(route)) responses[status] = problemOf(codes, schemas)
  return {
    operationId: operation,
    tags: [tag],
    summary,
    ...(description === undefined ? {} : { description }),
    ...(access === 'token' ? {} : { security: [] }),
    ...(config?.tokenHeader === undefined
      ? {}
      : { security: [{ token: [] }, { [config.tokenHeader]: [] }] }),
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(body === undefined ? {} : { requestBody: requestBodyOf(body, schemas) }),
    responses
  }
}

function parametersOf(route: Route, schemas: JsonSchemas): JsonSchema[] {
  const { headers = {}, names = {}, pathNames, query = {} } = route
  const inPath = pathNames.map((name) => ({
    name,
    in: 'path' satisfies Place,
    required: true,
    ...(names[name] === undefined ? {} : { description: names[name] }),
    schema: { type: 'string' }
  }))
  const inQuery = Object.entries(query).map(([name, parameter]) =>
    parameterOf(name, 'query', parameter, schemas)
  )
  const inHeaders = Object.values(headers).map((parameter: HeaderParameter<unknown>) =>
    parameterOf(parameter.header, 'header', parameter, schemas)
  )
  return [...inPath, ...inQuery, ...inHeaders]
}

function parameterOf(
  name: string,
  place: Place,
  { description, fallback, missing, schema }: Parameter<unknown>,
  schemas: JsonSchemas
): JsonSchema {
  return {
    name,
    in: place,
    ...(missing === undefined ? {} : { required: true }),
    description,
    schema: {
      ...schemas.of(schema, 'input'),
      ...(fallback === undefined ? {} : { default: fallback })
    }
  }
}

function requestBodyOf(body: RouteBody, schemas: JsonSchemas): JsonSchema {
  const content: Record<string, JsonSchema> = {}
  for (const [type, { description, schema }] of Object.entries(body.types)) {
    const own = schema === undefined ? {} : schemas.of(schema, 'input')
    content[type] =
      schema === undefined && description === undefined
        ? {}
        : { schema: { ...own, ...(description === undefined ? {} : { description }) } }
  }
  return { ...(body.description === '' ? {} : { description: body.description }), content }
}

function responseOf(
  { description, headers, schema, type }: Answer,
  schemas: JsonSchemas
): JsonSchema {
  const names = Object.entries(headers)
  return {
    description,
    ...(names.length === 0
      ? {}
      : {
          headers: Object.fromEntries(
            names.map(([name, what]) => [name, { description: what, schema: { type: 'string' } }])
          )
        }),
    ...(type === undefined
      ? {}
      : {
          content: { [type]: schema === undefined ? {} : { schema: schemas.of(schema, 'output') } }
        })
  }
}

function problemOf(codes: readonly ErrorCode[], schemas: JsonSchemas): JsonSchema {
  return {
    description: codes.map((code) => `\`${code}\`: ${ERRORS[code].meaning}`).join('\n\n'),
    content: {
      'application/problem+json': {
        schema: {
          allOf: [schemas.of(problemSchema, 'output'), { properties: { code: { enum: codes } } }]
        }
      }
    }
  }
}
