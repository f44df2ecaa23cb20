import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Page } from 'playwright-core'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { silentLogger } from '../../src/core/logger.ts'
import type { SkeinNode } from '../../src/index.ts'
import { type ServedNode, serve } from '../../src/sidecar/index.ts'
import { tcpNode } from '../fixtures/tcp-node.ts'
import { eventually } from '../processes/skein-process.ts'
import { useChromium } from './chromium.ts'

vi.setConfig({ testTimeout: 20_000 })

/** Names that an attacker has, and what they resolve to by now. */
const open = useChromium([
  '--host-resolver-rules=MAP evil.example 127.0.0.1, MAP rebound.example 127.0.0.1'
])

/** Any path of it is an empty page: somebody else's, for the browser. */
async function foreignServer(): Promise<{ port: number; stop: () => Promise<void> }> {
  const server = createServer((_, response) =>
    response.setHeader('content-type', 'text/html').end('<!doctype html><title>foreign</title>')
  )
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const stop = async (): Promise<void> => {
    if (!server.listening) return
    server.close()
    server.closeAllConnections()
    await once(server, 'close')
  }
  onTestFinished(stop)
  return { port: (server.address() as AddressInfo).port, stop }
}

async function victim(
  insecureApi: boolean,
  http = '127.0.0.1:0'
): Promise<{ node: SkeinNode; doors: ServedNode }> {
  const node = await tcpNode()
  const doors = await serve(node, { http, insecureApi, logger: silentLogger })
  onTestFinished(() => doors.stop())
  await node.publish('secrets/one', 'the secret')
  return { node, doors }
}

/**
 * Everything that a page can try, against the node at `base`. Answers what it could read, and what it knows to have
 * been taken. Every way has ended when it resolves.
 */
const ATTACK = String.raw`async ({ base, token }) => {
  const gained = []
  const auth = token === undefined ? {} : { authorization: 'Bearer ' + token }
  const target = base + '/v1/publish/attack/'
  const under = []
  const tried = (way, action) => {
    const gain = (got) => got && gained.push(way + ': ' + String(got).slice(0, 60))
    under.push(Promise.resolve().then(action).then(gain, () => {}))
  }
  const read = async (path, init) => {
    const response = await fetch(base + path, init)
    return response.type === 'opaque' ? undefined : response.ok && (await response.text())
  }
  for (const path of ['/v1/status', '/v1/history?filter=%23', '/metrics', '/healthz', '/']) {
    for (const headers of [{}, auth]) {
      for (const credentials of ['omit', 'include']) {
        tried('read ' + path, () => read(path, { headers, credentials }))
      }
    }
    tried('opaque ' + path, () => read(path, { mode: 'no-cors' }))
  }
  for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/json']) {
    for (const mode of ['cors', 'no-cors']) {
      for (const headers of [{}, auth]) {
        const init = { method: 'POST', mode, body: 'x', headers: { ...headers, 'content-type': type } }
        tried('publish ' + type + ' ' + mode, () => read('/v1/publish/attack/fetch', init))
      }
    }
  }
  tried('beacon', async () => void navigator.sendBeacon(target + 'beacon', 'x'))
  const tag = (name, attribute, value) =>
    new Promise((resolve) => {
      const element = document.createElement(name)
      element.onload = () => resolve(true)
      element.onerror = () => resolve(false)
      element[attribute] = value
      document.body.append(element)
    })
  tried('image', () => tag('img', 'src', base + '/v1/status'))
  tried('script', () => tag('script', 'src', base + '/v1/status'))
  tried('script of the page', () => tag('script', 'src', base + '/assets/' + 'index.js'))
  tried('frame', async () => {
    await tag('iframe', 'src', base + '/')
    return document.querySelector('iframe').contentDocument?.title
  })
  const form = (enctype) =>
    new Promise((resolve) => {
      const frame = document.createElement('iframe')
      frame.name = 'form' + Math.random()
      const sent = document.createElement('form')
      Object.assign(sent, { method: 'post', action: target + 'form', enctype, target: frame.name })
      const field = document.createElement('input')
      field.name = 'a'
      sent.append(field)
      document.body.append(frame, sent)
      frame.onload = resolve
      sent.submit()
      setTimeout(resolve, 1000)
    })
  for (const enctype of ['text/plain', 'multipart/form-data']) {
    tried('form', async () => void (await form(enctype)))
  }
  const ended = (socket) =>
    new Promise((resolve) => {
      socket.onopen = () => resolve('opened')
      socket.onmessage = ({ data }) => resolve(data)
      socket.onerror = socket.onclose = () => resolve(undefined)
    }).finally(() => socket.close())
  tried('events', () => ended(new EventSource(base + '/v1/subscribe?filter=%23&from=earliest')))
  const bearer = token === undefined ? [] : ['bearer.' + btoa(token).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '')]
  const address = base.replace('http', 'ws') + '/v1/ws'
  tried('socket', () => ended(new WebSocket(address, ['skein.v1', ...bearer])))
  await Promise.all(under)
  return gained
}`

const attack = (page: Page, base: string, token: string | undefined): Promise<string[]> =>
  page.evaluate<string[]>(`(${ATTACK})(${JSON.stringify({ base, token })})`)

/** Answers of the node to this page, and whether it still waits for some. */
function answers(page: Page): { readonly statuses: number[]; open: () => number } {
  const statuses: number[] = []
  let open = 0
  page.on('request', () => open++)
  page.on('requestfailed', () => open--)
  page.on('requestfinished', () => open--)
  page.on('response', (response) => {
    if (/:\d+\/v1\//.test(response.url())) statuses.push(response.status())
  })
  return { statuses, open: () => open }
}

describe('a page of another origin', () => {
  it.each([
    ['of another port, which is the same site', '127.0.0.1', true],
    ['of another port, which is the same site', '127.0.0.1', false],
    ['of a foreign name', 'evil.example', true],
    ['of a foreign name', 'evil.example', false]
  ])('%s (%s), insecure: %s, neither reads nor publishes', async (_, host, insecure) => {
    const { doors, node } = await victim(insecure)
    const page = await open()
    await page.goto(`http://${host}:${(await foreignServer()).port}/`)
    const { open: pending, statuses } = answers(page)
    // One that has learned the token is still not the operator.
    expect(await attack(page, doors.url, doors.token)).toEqual([])
    await eventually(() => pending() === 0)
    expect(new Set(statuses)).toEqual(new Set([403]))
    expect(node.topics().map(({ channel }) => channel)).toEqual(['secrets'])
    expect(node.status()).toMatchObject({ published: 1, subscriptions: 0 })
  })

  it('whose name was bound to this machine meanwhile gets nothing, either', async () => {
    for (const insecure of [true, false]) {
      // It came from elsewhere, while the name and the port still were there.
      const before = await foreignServer()
      const base = `http://rebound.example:${before.port}`
      const page = await open()
      await page.goto(base)
      await before.stop()
      const { doors, node } = await victim(insecure, `127.0.0.1:${before.port}`)
      const { statuses } = answers(page)
      // What supervisors ask is open to everybody, and says nothing else.
      const gained = await attack(page, base, doors.token)
      expect(new Set(gained.map((way) => way.replace(/^\w+ /, '')))).toEqual(
        new Set(['/healthz: {"healthy":true}'])
      )
      expect(new Set(statuses)).toEqual(new Set([403]))
      expect(node.status()).toMatchObject({ published: 1, subscriptions: 0 })
    }
  })

  it('is told apart from the page of the node itself, which can do all that', async () => {
    const { doors, node } = await victim(true)
    const page = await open()
    await page.goto(doors.url)
    const gained = await attack(page, doors.url, undefined)
    expect(gained.join('\n')).toContain('read /v1/status: {"peerId"')
    expect(gained.join('\n')).toContain('read /v1/history?filter=%23: {"messages"')
    expect(gained.join('\n')).toContain('publish text/plain cors')
    expect(gained).toEqual(expect.arrayContaining(['events: opened', 'socket: opened']))
    expect(node.status().published).toBeGreaterThan(1)
  })
})
