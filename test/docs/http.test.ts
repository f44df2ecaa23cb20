import { describe, expect, it, vi } from 'vitest'
import type { FastifyInstance } from 'fastify'
import { silentLogger } from '../../src/core/logger.ts'
import type { SkeinNode } from '../../src/node/contract.ts'
import { EVENT_ATTRIBUTES } from '../../src/sidecar/events/cloud-event.ts'
import { createSidecar } from '../../src/sidecar/server.ts'
import { commandSchemas } from '../../src/sidecar/websocket/commands.ts'
import { pushSchemas } from '../../src/sidecar/websocket/pushes.ts'
import { codesOf, pageOf, rowsOf, sectionOf } from './tables.ts'

const registered: string[] = []

// The sidecar keeps its server to itself; what it registers is seen from below.
vi.mock('fastify', async (importOriginal) => {
  const original = await importOriginal<{ fastify: (options: object) => FastifyInstance }>()
  const fastify = (options: object): FastifyInstance => {
    const app = original.fastify(options)
    app.addHook('onRoute', ({ method, url }) => {
      registered.push(
        `${String(method)} ${url.replace('/*', '/<topic>').replace(/:(\w+)/, '<$1>')}`
      )
    })
    return app
  }
  return { ...original, fastify }
})

const page = pageOf('http.md')

describe('docs: HTTP', () => {
  it('lists every route there is, and no other', async () => {
    const sidecar = createSidecar(
      { node: {} as SkeinNode, logger: silentLogger },
      {
        host: '127.0.0.1',
        port: 0,
        exactPort: true,
        token: 'token',
        allowHosts: [],
        allowOrigins: [],
        insecure: false
      }
    )
    await sidecar.stop()
    const listed = rowsOf(sectionOf(page, '## Routes')).map(
      ([route = '']) => codesOf(route)[0] ?? ''
    )
    expect(listed.toSorted()).toEqual(registered.toSorted())
  })

  it('lists every command and push of the WebSocket', () => {
    const rows = rowsOf(sectionOf(page, '## WebSocket'))
    const listed = rows.map(([name = '']) => codesOf(name)[0] ?? '').filter((name) => name !== '')
    const there = [...Object.keys(commandSchemas), ...Object.keys(pushSchemas)]
    expect(listed.toSorted()).toEqual(there.toSorted())
  })

  it('lists every attribute of an event', () => {
    const section = sectionOf(page, '### CloudEvents')
    const listed = new Set(rowsOf(section).flatMap(([name = '']) => codesOf(name)))
    expect([...listed].toSorted()).toEqual([...EVENT_ATTRIBUTES].toSorted())
  })
})
