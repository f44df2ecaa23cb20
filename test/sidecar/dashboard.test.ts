import { fastify } from 'fastify'
import { describe, expect, it, onTestFinished } from 'vitest'
import { Api } from '../../src/sidecar/api/api.ts'
import { addDashboardRoutes } from '../../src/sidecar/routes/dashboard-routes.ts'
import { startBench } from './http-client.ts'

const linksOf = (html: string): string[] =>
  [...html.matchAll(/(?:src|href)="\.\/([^"]+)"/g)].map(([, path = '']) => `/${path}`)

describe('dashboard: files', () => {
  it('gives the page and its files without a token, and nothing else', async () => {
    const { call } = bound(await startBench())
    const page = await call('/', { token: null })
    expect(page.status).toBe(200)
    expect(page.headers['content-type']).toBe('text/html; charset=utf-8')
    const links = linksOf(page.text)
    expect(links.map((path) => path.split('.').at(-1) ?? '').toSorted()).toEqual([
      'css',
      'js',
      'svg'
    ])
    for (const path of links) {
      const file = await call(path, { token: null })
      expect(file.status).toBe(200)
      expect(file.headers['cache-control']).toBe('public, max-age=31536000, immutable')
      expect(file.headers['x-content-type-options']).toBe('nosniff')
      expect(file.headers['content-type']).toMatch(/^(text\/(css|javascript)|image\/svg\+xml)/)
    }
    for (const path of ['/assets/', '/assets/%2e%2e%2findex.html']) {
      expect((await call(path, { token: null })).status).toBe(404)
    }
    expect((await call('/assets/../index.html', { token: null })).status).toBe(401)
    expect((await call('/assets/../index.html')).status).toBe(404)
    expect((await call('/v1/status', { token: null })).status).toBe(401)
    expect((await call('/assets', { token: null })).status).toBe(401)
  })

  it('the page allows nothing inline, no other origin, and no frame around it', async () => {
    const { call } = bound(await startBench())
    const { headers, text } = await call('/', { token: null })
    const policy = String(headers['content-security-policy'])
    expect(policy).toContain("default-src 'none'")
    expect(policy).toContain("connect-src 'self'")
    expect(policy).toContain("frame-ancestors 'none'")
    expect(policy).not.toMatch(/unsafe|\*|data:|blob:/)
    expect(headers['referrer-policy']).toBe('no-referrer')
    expect(text).not.toMatch(/<style|<script>|style="|\son\w+=|https?:/)
  })

  it('the page is asked for again, and not sent again while it is the same', async () => {
    const { call } = bound(await startBench())
    const first = await call('/', { token: null })
    expect(first.headers['cache-control']).toBe('no-cache')
    const headers = { 'if-none-match': String(first.headers.etag) }
    const again = await call('/', { token: null, headers })
    expect([again.status, again.text]).toEqual([304, ''])
  })

  it.each([
    [{ host: 'evil.example' }, 403],
    [{ origin: 'https://evil.example' }, 403],
    [{ 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors' }, 403],
    [
      {
        'sec-fetch-site': 'cross-site',
        'sec-fetch-mode': 'navigate',
        'sec-fetch-dest': 'iframe'
      },
      403
    ],
    [
      {
        'sec-fetch-site': 'cross-site',
        'sec-fetch-mode': 'navigate',
        'sec-fetch-dest': 'document'
      },
      200
    ]
  ])('other pages may link to it, and no more: %o gets %i', async (headers, status) => {
    const { call } = bound(await startBench())
    const sent = headers as Record<string, string>
    expect((await call('/', { token: null, headers: sent })).status).toBe(status)
    expect((await call('/v1/status', { headers: sent })).status).toBe(403)
  })

  it('says how to build it where it is not built', async () => {
    const app = fastify()
    onTestFinished(() => app.close())
    const api = new Api({ app, signal: new AbortController().signal })
    addDashboardRoutes(api, [new URL('nowhere/', import.meta.url)])
    const answer = await app.inject('/')
    expect(answer.body).toContain('npm run build')
    expect(answer.statusCode).toBe(404)
  })
})

function bound(bench: Awaited<ReturnType<typeof startBench>>) {
  return { call: bench.call.bind(bench) }
}
