import { once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { LIMITS } from '../../src/core/limits.ts'
import { NodeProcess, type Result, randomMesh, run, temporaryFolder } from './skein-process.ts'

/** What every failed command leaves: one line with a code, the exit code of the error table, no stack trace. */
function expectRefusal(result: Result, exit: number, code: string, ...texts: string[]): void {
  const { stderr, stdout } = result
  expect({ stderr, exit: result.code }).toEqual({ stderr: expect.stringContaining(code), exit })
  expect(stdout).toBe('')
  expect(stderr).toMatch(/^skein: [^\n]+ \(ERR_[A-Z_]+\)\n$/)
  for (const text of texts) expect(stderr).toContain(text)
}

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
    // Through all of the abuse it neither ended nor logged an error, and still takes messages.
    expect((await run(['pub', 'fine', 'still here', ...at])).code).toBe(0)
    expect((await node.call<{ ready: boolean }>('GET', '/v1/status')).ready).toBe(true)
    expect(node.log.join('')).not.toMatch(/"level":[56]0|\bat .*:\d+:\d+/)
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
    expectRefusal(results[0], 1, 'ERR_PAYLOAD_TOO_LARGE', String(LIMITS.payloadBytes))
    expectRefusal(results[1], 1, 'ERR_PAYLOAD_TOO_LARGE', '1 lines are confirmed')
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
    ['empty', '', 'ERR_OPTIONS'],
    ['reserved', '$dlq/x', 'ERR_TOPIC'],
    ['inbox', '@me/x', 'ERR_TOPIC'],
    ['many levels', Array.from({ length: LIMITS.topicLevels + 1 }).join('a/'), 'ERR_TOPIC'],
    ['too long', 'a'.repeat(LIMITS.topicBytes + 1), 'ERR_TOPIC']
  ])('topic: %s is refused by the command line and by HTTP', async (_, topic, code) => {
    expectRefusal(await run(['pub', topic, 'x', ...at]), 2, code)
    const path = `/v1/publish?topic=${encodeURIComponent(topic)}`
    const answer = await problem(path, { method: 'POST', body: 'x' })
    expect(answer.slice(0, 2)).toEqual([400, code])
  })

  it('filter: a malformed one is refused by the command line and by HTTP', async () => {
    expectRefusal(await run(['sub', 'a/#/b', ...at]), 2, 'ERR_FILTER')
    const [status, code] = await problem('/v1/subscribe?filter=a%2Fb%23', {})
    expect([status, code]).toEqual([400, 'ERR_FILTER'])
  })

  it('token: a wrong or missing one opens nothing but the health routes', async () => {
    const env = { SKEIN_TOKEN: 'a-wrong-token-of-some-length' }
    const api = ['--api', node.ready.api]
    expectRefusal(await run(['pub', 'a', 'x', ...api], { env }), 1, 'ERR_TOKEN')
    expectRefusal(await run(['status', ...api], { env: { SKEIN_TOKEN: '' } }), 1, 'ERR_TOKEN')
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
})

describe('bad input: options of start', () => {
  async function start(
    args: readonly string[],
    env: NodeJS.ProcessEnv = {}
  ): Promise<Result & { folder: string }> {
    const folder = await temporaryFolder(onTestFinished)
    const all = ['start', '--http', 'off', '--data-dir', join(folder, 'data'), ...quiet, ...args]
    return { ...(await run(all, { env })), folder }
  }

  it.each([
    [['--nmae', 'x'], {}, '--nmae'],
    [['--log-level', 'loud'], {}, '--log-level'],
    [['--http', 'nowhere'], {}, 'http'],
    [['--mesh', 'a b'], {}, 'mesh'],
    [['--join', 'nonsense'], {}, 'join'],
    [['--announce', 'nonsense'], {}, 'announce'],
    [[], { SKEIN_LOG_LEVEL: 'loud' }, 'loud'],
    [[], { SKEIN_MESH: 'a b' }, 'mesh'],
    [[], { SKEIN_JOIN: 'nonsense' }, 'join'],
    [[], { SKEIN_INSECURE_API: 'perhaps' }, 'SKEIN_INSECURE_API'],
    [[], { SKEIN_CONFIG: '/nonexistent/skein.yaml' }, '--config']
  ] as [string[], NodeJS.ProcessEnv, string][])(
    'options: %j with environment %j names the option, exit code 2',
    async (args, env, text) => {
      expectRefusal(await start(args, env), 2, 'ERR_OPTIONS', text)
    }
  )

  it.each([
    ['nmae: x', 'nmae'],
    ['mesh: [', 'cannot be read'],
    ['channels:\n  a/#:\n    retention: { maxAge: 5 }', 'maxAge'],
    ['channels:\n  a/#/b:\n    retention: { maxAgeMs: 5 }', 'a/#/b'],
    ['payloadBytes: 99999999', 'payloadBytes'],
    ['reserveBytes: -1', 'reserveBytes']
  ])('options: a configuration file with %j names the option, exit code 2', async (text, named) => {
    const folder = await temporaryFolder(onTestFinished)
    const config = join(folder, 'skein.yaml')
    await writeFile(config, `${text}\n`)
    expectRefusal(await start(['--config', config]), 2, 'ERR_OPTIONS', named)
  })

  it('options: a network key that is missing, malformed or readable by others is refused', async () => {
    const folder = await temporaryFolder(onTestFinished)
    const key = join(folder, 'key')
    expectRefusal(await start(['--network-key', key]), 1, 'ERR_NETWORK_KEY', key)
    await writeFile(key, 'no key\n', { mode: 0o600 })
    expectRefusal(await start(['--network-key', key]), 1, 'ERR_NETWORK_KEY', 'skein key create')
    const open = join(folder, 'open')
    await writeFile(open, `${'ab'.repeat(32)}\n`, { mode: 0o644 })
    expectRefusal(await start(['--network-key', open]), 1, 'ERR_NETWORK_KEY', 'chmod 600')
  })
})

describe('bad input: what start cannot have', () => {
  it('data dir: a file in its place, or on the way to it, is one clear line', async () => {
    const folder = await temporaryFolder(onTestFinished)
    const file = join(folder, 'file')
    await writeFile(file, '')
    for (const path of [file, join(file, 'below')]) {
      const result = await run(['start', '--http', 'off', ...quiet, '--data-dir', path])
      expectRefusal(result, 1, 'ERR_DATA_DIR', path)
    }
  })

  it('data dir: one whose identity is damaged or gone is not taken over', async () => {
    const folder = await temporaryFolder(onTestFinished)
    const key = join(folder, 'identity.key')
    await writeFile(key, '')
    const args = ['start', '--http', 'off', ...quiet, '--data-dir', folder]
    expectRefusal(await run(args), 1, 'ERR_DATA_DIR', key)
    const other = await temporaryFolder(onTestFinished)
    await mkdir(join(other, 'store'))
    const result = await run(['start', '--http', 'off', ...quiet, '--data-dir', other])
    expectRefusal(result, 1, 'ERR_DATA_DIR', 'identity.key is missing')
  })

  it('data dir in use: the second start suggests --name, the first goes on', async () => {
    const folder = await temporaryFolder(onTestFinished)
    const node = new NodeProcess(folder, ['--mesh', randomMesh(), ...quiet])
    onTestFinished(async () => void (await node.kill()))
    await node.start()
    const second = await run(['start', '--http', 'off', ...quiet, '--data-dir', folder])
    expectRefusal(second, 1, 'ERR_DATA_DIR_LOCKED', folder, '--name')
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
    expectRefusal(http, 1, 'ERR_LISTEN', `127.0.0.1:${port}`)
    const listen = await run([...at, '--http', 'off', '--listen', `/ip4/127.0.0.1/tcp/${port}`])
    expectRefusal(listen, 1, 'ERR_LISTEN', `/tcp/${port}`)
    const foreign = await run([...at, '--http', 'off', '--listen', '/ip4/192.0.2.1/tcp/0'])
    expectRefusal(foreign, 1, 'ERR_LISTEN', '192.0.2.1')
    const node = new NodeProcess(folder, ['--no-mdns', ...free])
    onTestFinished(async () => void (await node.kill()))
    await node.start()
  })
})
