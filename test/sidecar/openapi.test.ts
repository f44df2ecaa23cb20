import { createHash } from 'node:crypto'
import { Validator } from '@seriousme/openapi-schema-validator'
import { describe, expect, it } from 'vitest'
import { codesOf, pageOf, rowsOf, sectionOf } from '../docs/tables.ts'
import { startBench } from './http-client.ts'

interface Operation {
  readonly operationId: string
  readonly tags: readonly string[]
  readonly security?: readonly unknown[]
  readonly responses: Readonly<Record<string, { description: string }>>
}

interface Document {
  readonly openapi: string
  readonly info: { readonly version: string }
  readonly tags: ReadonlyArray<{ readonly name: string }>
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly webhooks: Readonly<Record<string, Readonly<Record<string, Operation>>>>
}

async function documentOf(): Promise<Document> {
  const b = await startBench()
  const answer = await b.call('/openapi.json', { token: null })
  expect(answer.status).toBe(200)
  return answer.json()
}

describe('sidecar OpenAPI', () => {
  it('openapi: the document is valid OpenAPI 3.1, given without a token', async () => {
    const document = await documentOf()
    const { errors, valid } = await new Validator().validate({ ...document })
    expect(errors).toBeUndefined()
    expect(valid).toBe(true)
    expect(document.openapi).toBe('3.1.0')
  })

  it('openapi: has the routes of the documentation, and no other', async () => {
    const { paths } = await documentOf()
    const described = Object.entries(paths).flatMap(([path, operations]) =>
      Object.keys(operations).map(
        (method) => `${method.toUpperCase()} ${path.replaceAll(/\{(\w+)\}/g, '<$1>')}`
      )
    )
    const listed = rowsOf(sectionOf(pageOf('http.md'), '## Routes')).map(
      ([route = '']) => codesOf(route)[0] ?? ''
    )
    expect(described.toSorted()).toEqual(listed.toSorted())
  })

  it('openapi: operations have names of their own, and known tags', async () => {
    const { paths, tags, webhooks } = await documentOf()
    const operations = [...Object.values(paths), ...Object.values(webhooks)].flatMap((path) =>
      Object.values(path)
    )
    const names = operations.map(({ operationId }) => operationId)
    expect(new Set(names).size).toBe(names.length)
    expect([...new Set(operations.flatMap((operation) => operation.tags))]).toEqual(
      tags.map(({ name }) => name)
    )
  })

  it('openapi: says who may call, and what may go wrong', async () => {
    const { paths } = await documentOf()
    expect(paths['/healthz']?.['get']?.security).toEqual([])
    expect(paths['/v1/groups']?.['get']?.security).toBeUndefined()
    const responses = paths['/v1/groups/{name}']?.['delete']?.responses
    expect(Object.keys(responses ?? {})).toEqual([
      '204',
      '400',
      '401',
      '403',
      '404',
      '409',
      '429',
      '500',
      '503'
    ])
    expect(responses?.['409']?.description).toContain('ERR_SUBSCRIPTION_IN_USE')
  })

  it('openapi: the page shows every operation and schema, and loads and runs nothing', async () => {
    const b = await startBench()
    const { headers, status, text } = await b.call('/docs/api', { token: null })
    expect(status).toBe(200)
    const document = await documentOf()
    const { paths, webhooks } = document
    const operations = [...Object.values(paths), ...Object.values(webhooks)].flatMap((path) =>
      Object.values(path)
    )
    const ids = [...text.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id)
    expect(ids).toEqual(expect.arrayContaining(operations.map(({ operationId }) => operationId)))
    expect(new Set(ids).size).toBe(ids.length)
    const links = [...text.matchAll(/ href="([^"]+)"/g)].map(([, link = '']) => link)
    expect(links.filter((link) => !ids.includes(link.slice(1)))).toEqual([
      '/openapi.json',
      '/asyncapi.json'
    ])
    expect(text).not.toMatch(/<script|<link|<img|style="|\son\w+=|undefined|\[object/)
    const style = /<style>(.*?)<\/style>/s.exec(text)?.[1] ?? ''
    const digest = createHash('sha256').update(style).digest('base64')
    const policy = String(headers['content-security-policy'])
    expect(policy).toContain(`style-src 'sha256-${digest}'`)
    expect(policy).toContain("default-src 'none'")
    expect(policy).not.toContain('script-src')
  })
})
