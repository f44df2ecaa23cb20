import { once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { LIMITS } from '../../src/core/limits.ts'
import { LOOPBACK, inNamespace } from './namespace.ts'
import { refusal } from './refusal.ts'
import { NodeProcess, type Result, randomMesh, run, temporaryFolder } from './skein-process.ts'

const quiet = ['--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0']

describe('bad input: requests to a running node', () => {
  const cleanUp: (() => Promise<void>)[] = []
  let node: NodeProcess
  let at: string[]

  beforeAll(async () => {
    const folder = await temporaryFolder((undo) => cleanUp.push(undo))
    node = new NodeProcess(folder, ['--mesh', randomMesh(), ...quiet])
    await node.start()
    at = ['--data-dir', folder]
  })

  afterAll(async () => {
    await node.kill()
    for (const undo of cleanUp) await undo()
  })

  async function problem(path: string, init: RequestInit): Promise<[number, string, string]> {
    const response = await node.fetch(path, init)
    expect(response.headers.get('content-type')).toContain('application/problem+json')
    const { code, type } = (await response.json()) as { code: string; type: string }
    return [response.status, code, type]
  }

  it('payload: above the limit is refused by the command line and by HTTP, at the limit it is taken', async () => {
    const largest = Buffer.alloc(LIMITS.payloadBytes, 97)
    const tooLarge = Buffer.alloc(LIMITS.payloadBytes + 1, 97)
    const results = await Promise.all([
      run(['pub', 'a', '-', ...at], { input: tooLarge }),
      run(['pub', 'a', '--lines', ...at], { input: Buffer.concat([Buffer.from('x\n'), tooLarge]) }),
      run(['pub', 'a', '-', ...at], { input: largest })
    ])
    expect(results[0]).toEqual(refusal(1, 'ERR_PAYLOAD_TOO_LARGE', String(LIMITS.payloadBytes)))
    expect(results[1]).toEqual(refusal(1, 'ERR_PAYLOAD_TOO_LARGE', '1 lines are confirmed'))
    expect(results[2].code).toBe(0)
    expect(await problem('/v1/publish/a', { method: 'POST', body: tooLarge })).toEqual([
      413,
      'ERR_PAYLOAD_TOO_LARGE',
      'urn:skein:error:ERR_PAYLOAD_TOO_LARGE'
    ])
    expect((await node.fetch('/v1/publish/a', { method: 'POST', body: largest })).status).toBe(202)
  })

  it.each([
    ['wildcard', 'a/#', 'ERR_TOPIC'],
    ['reserved', '$dlq/x', 'ERR_TOPIC'],
    ['inbox', '@me/x', 'ERR_TOPIC'],
    ['many levels', Array.from({ length: LIMITS.topicLevels + 1 }).join('a/'), 'ERR_TOPIC'],
    ['too long', 'a'.repeat(LIMITS.topicBytes + 1), 'ERR_TOPIC']
  ])('topic: %s is refused by the command line and by HTTP', async (_, topic, code) => {
    expect(await run(['pub', topic, 'x', ...at])).toEqual(refusal(2, code))
    const path = `/v1/publish?topic=${encodeURIComponent(topic)}`
    const answer = await problem(path, { method: 'POST', body: 'x' })
    expect(answer.slice(0, 2)).toEqual([400, code])
  })

  it('topic: an empty one is wrong usage', async () => {
    expect((await run(['pub', '', 'x', ...at])).code).toBe(2)
    const answer = await problem('/v1/publish?topic=', { method: 'POST', body: 'x' })
    expect(answer[0]).toBe(400)
  })

  it('filter: a malformed one is refused by the command line and by HTTP', async () => {
    expect(await run(['sub', 'a/#/b', ...at])).toEqual(refusal(2, 'ERR_FILTER'))
    const [status, code] = await problem('/v1/subscribe?filter=a%2Fb%23', {})
    expect([status, code]).toEqual([400, 'ERR_FILTER'])
  })

  it('token: a wrong or missing one opens nothing but the health routes', async () => {
    const env = { SKEIN_TOKEN: 'a-wrong-token-of-some-length' }
    const api = ['--api', node.ready.api]
    expect(await run(['pub', 'a', 'x', ...api], { env })).toEqual(refusal(1, 'ERR_TOKEN'))
    expect(await run(['status', ...api], { env: { SKEIN_TOKEN: '' } })).toEqual(
      refusal(1, 'ERR_TOKEN')
    )
    for (const authorization of ['Bearer wrong', 'Basic eDp5', 'Bearer', node.token]) {
      const init = { method: 'POST', body: 'x', headers: { authorization } }
      const [status, code] = await problem('/v1/publish/a', init)
      expect([status, code]).toEqual([401, 'ERR_TOKEN'])
    }
    for (const path of ['/healthz', '/readyz']) {
      const response = await fetch(new URL(path, node.ready.api))
      expect([path, response.status]).toEqual([path, 200])
    }
  })

  it('origin: web pages of others are refused, and so are foreign host names', async () => {
    const headersOf = (headers: Record<string, string>): Promise<[number | undefined, string]> =>
      new Promise((resolve, reject) => {
        const authorization = `Bearer ${node.token}`
        const call = request(new URL('/v1/status', node.ready.api), {
          headers: { authorization, ...headers }
        })
        call.once('error', reject)
        call.once('response', (response) => {
          let body = ''
          response.setEncoding('utf8').on('data', (text: string) => (body += text))
          response.once('end', () =>
            resolve([response.statusCode, (JSON.parse(body) as { code: string }).code])
          )
        })
        call.end()
      })
    for (const origin of ['https://evil.example', 'null', 'http://127.0.0.1.evil.example']) {
      expect(await headersOf({ origin })).toEqual([403, 'ERR_ORIGIN'])
    }
    for (const host of ['evil.example', '127.evil.example:80', 'localhost.evil.example']) {
      expect(await headersOf({ host })).toEqual([403, 'ERR_HOST'])
    }
  })

  it('node: after all of that it has logged no error and still takes messages', async () => {
    expect((await run(['pub', 'fine', 'still here', ...at])).code).toBe(0)
    expect((await node.call<{ ready: boolean }>('GET', '/v1/status')).ready).toBe(true)
    expect(node.log.join('')).not.toMatch(/"level":[56]0|\bat .*:\d+:\d+/)
  })
})

describe('bad input: options of start', () => {
  async function start(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Result> {
    const folder = await temporaryFolder(onTestFinished)
    const all = ['start', '--http', 'off', '--data-dir', join(folder, 'data'), ...quiet, ...args]
    return run(all, { env })
  }

  it.each([
    [['--nmae', 'x'], {}, '--nmae'],
    [['--join', 'nonsense'], {}, 'join'],
    [[], { SKEIN_LOG_LEVEL: 'loud' }, 'loud'],
    [[], { SKEIN_MESH: 'a b' }, 'mesh'],
    [[], { SKEIN_INSECURE_API: 'perhaps' }, 'SKEIN_INSECURE_API']
  ] as [string[], NodeJS.ProcessEnv, string][])(
    'options: %j with environment %j names the option, exit code 2',
    async (args, env, text) => {
      expect(await start(args, env)).toEqual(refusal(2, 'ERR_OPTIONS', text))
    }
  )

  it.each([
    ['nmae: x', 'nmae'],
    ['channels:\n  a/#:\n    retention: { maxAge: 5 }', 'maxAge'],
    ['channels:\n  a/#/b:\n    retention: { maxAgeMs: 5 }', 'a/#/b'],
    ['payloadBytes: 99999999', 'payloadBytes']
  ])('options: a configuration file with %j names the option, exit code 2', async (text, named) => {
    const folder = await temporaryFolder(onTestFinished)
    const config = join(folder, 'skein.yaml')
    await writeFile(config, `${text}\n`)
    expect(await start(['--config', config])).toEqual(refusal(2, 'ERR_OPTIONS', named))
  })

  it('options: a network key that is missing, malformed or readable by others is refused', async () => {
    const folder = await temporaryFolder(onTestFinished)
    const key = join(folder, 'key')
    expect(await start(['--network-key', key])).toEqual(refusal(1, 'ERR_NETWORK_KEY', key))
    await writeFile(key, 'no key\n', { mode: 0o600 })
    expect(await start(['--network-key', key])).toEqual(
      refusal(1, 'ERR_NETWORK_KEY', 'skein key create')
    )
    const open = join(folder, 'open')
    await writeFile(open, `${'ab'.repeat(32)}\n`, { mode: 0o644 })
    expect(await start(['--network-key', open])).toEqual(refusal(1, 'ERR_NETWORK_KEY', 'chmod 600'))
  })
})

describe('bad input: what start cannot have', () => {
  it('data dir: a file in its place, or on the way to it, is one clear line', async () => {
    const folder = await temporaryFolder(onTestFinished)
    const file = join(folder, 'file')
    await writeFile(file, '')
    for (const path of [file, join(file, 'below')]) {
      const result = await run(['start', '--http', 'off', ...quiet, '--data-dir', path])
      expect(result).toEqual(refusal(1, 'ERR_DATA_DIR', path))
    }
  })

  it('data dir: one that cannot be written, new or used before, is one clear line', async (context) => {
    const folder = await temporaryFolder(onTestFinished)
    const setup = `${LOOPBACK} && mount -t tmpfs -o size=32m tmpfs '${folder}'`
    const script = new URL('./read-only-scenario.ts', import.meta.url)
    const results = await inNamespace(context, setup, script, [folder])
    expect(results).toEqual([
      refusal(1, 'ERR_DATA_DIR', join(folder, 'new')),
      refusal(1, 'ERR_DATA_DIR', join(folder, 'used'))
    ])
  })

  it('data dir: one whose identity is damaged or gone is not taken over', async () => {
    const folder = await temporaryFolder(onTestFinished)
    const key = join(folder, 'identity.key')
    await writeFile(key, '')
    const args = ['start', '--http', 'off', ...quiet, '--data-dir', folder]
    expect(await run(args)).toEqual(refusal(1, 'ERR_DATA_DIR', key))
    const other = await temporaryFolder(onTestFinished)
    await mkdir(join(other, 'store'))
    const result = await run(['start', '--http', 'off', ...quiet, '--data-dir', other])
    expect(result).toEqual(refusal(1, 'ERR_DATA_DIR', 'identity.key is missing'))
  })

  it('data dir in use: the second start suggests --name, the first goes on', async () => {
    const folder = await temporaryFolder(onTestFinished)
    const node = new NodeProcess(folder, ['--mesh', randomMesh(), ...quiet])
    onTestFinished(async () => void (await node.kill()))
    await node.start()
    const second = await run(['start', '--http', 'off', ...quiet, '--data-dir', folder])
    expect(second).toEqual(refusal(1, 'ERR_DATA_DIR_LOCKED', folder, '--name'))
    expect((await run(['pub', 'a', 'x', '--data-dir', folder])).code).toBe(0)
    expect((await run(['status', '--ready', '--data-dir', folder])).code).toBe(0)
  })

  it('port in use: --http and --listen say which, and leave nothing behind', async () => {
    const taken = createServer().listen(0, '127.0.0.1')
    onTestFinished(() => void taken.close())
    await once(taken, 'listening')
    const { port } = taken.address() as AddressInfo
    const folder = await temporaryFolder(onTestFinished)
    const at = ['start', '--no-mdns', '--data-dir', folder, '--mesh', randomMesh()]
    const free = ['--listen', '/ip4/127.0.0.1/tcp/0']
    const http = await run([...at, ...free, '--http', `127.0.0.1:${port}`])
    expect(http).toEqual(refusal(1, 'ERR_LISTEN', `127.0.0.1:${port}`))
    const listen = await run([...at, '--http', 'off', '--listen', `/ip4/127.0.0.1/tcp/${port}`])
    expect(listen).toEqual(refusal(1, 'ERR_LISTEN', `/tcp/${port}`))
    const foreign = await run([...at, '--http', 'off', '--listen', '/ip4/192.0.2.1/tcp/0'])
    expect(foreign).toEqual(refusal(1, 'ERR_LISTEN', '192.0.2.1'))
    const node = new NodeProcess(folder, ['--no-mdns', ...free])
    onTestFinished(async () => void (await node.kill()))
    expect((await node.start()).dataDir).toBe(folder)
  })
})
