import { readFile, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { dashboardLink } from '../../src/cli/start.ts'
import { launch, run, startNode, tempFolder } from './command.ts'

// Each test runs several processes, one after the other.
vi.setConfig({ testTimeout: 60_000 })

describe('cli start', () => {
  it('start: the link to the dashboard has the token on a terminal, and nowhere else', () => {
    const api = { url: 'http://127.0.0.1:7400', token: 'a+b' }
    expect(dashboardLink(api, true)).toBe('http://127.0.0.1:7400/#token=a%2Bb')
    expect(dashboardLink(api, false)).toBe('http://127.0.0.1:7400/')
    expect(dashboardLink({ ...api, token: undefined }, true)).toBe('http://127.0.0.1:7400/')
  })

  it('start: tells where it is, serves until SIGTERM, and cleans up', async () => {
    const node = await startNode(['--name', 'one', '--mesh', 'shop', '--mqtt', '127.0.0.1:0'])
    const { ready } = node
    expect(ready).toMatchObject({ name: 'one', mesh: 'shop' })
    expect(ready.mqtt).toMatch(/^127\.0\.0\.1:\d+$/)
    expect(ready.listen[0]).toMatch(/^\/ip4\/127\.0\.0\.1\/tcp\/\d+\/p2p\//)
    const file = join(ready.dataDir, 'api.json')
    expect((await stat(file)).mode & 0o777).toBe(0o600)
    const api = JSON.parse(await readFile(file, 'utf8'))
    const { api: url, mqtt } = ready
    expect(api).toEqual({ url, mqtt, token: api.token, pid: node.child.pid })
    const at = ['--data-dir', ready.dataDir]
    expect((await run(['pub', 'orders/new', 'hello', ...at])).code).toBe(0)
    const sub = await run(['sub', 'orders/#', '--from', 'earliest', '--raw', '--count', '1', ...at])
    expect(sub.text).toBe('hello\n')
    await node.seen('open mesh')
    expect((await run(['doctor', '--repair', ...at])).stderr).toContain('ERR_DATA_DIR_LOCKED')
    const locked = await run(['start', '--http', 'off', '--no-mdns', ...at])
    expect(locked.code).toBe(1)
    expect(locked.stderr).toMatch(/--name <other name> \(ERR_DATA_DIR_LOCKED\)\n$/)
    const other = await run(['start', '--http', new URL(ready.api ?? '').host, '--no-mdns'], {
      env: { SKEIN_DATA_DIR: join(await tempFolder(), 'other') }
    })
    expect(other.code).toBe(1)
    expect(other.stderr).toContain('ERR_LISTEN')
    node.child.kill('SIGTERM')
    const { code, stderr } = await node.result
    expect({ code, errors: stderr.match(/ERR_\w+|has no TLS/g) }).toEqual({ code: 0, errors: null })
    await expect(stat(file)).rejects.toMatchObject({ code: 'ENOENT' })
    expect((await run(['status', ...at])).code).toBe(3)
  })

  it('start: joins another node with the same key, and every line arrives', async () => {
    const folder = await tempFolder()
    const key = join(folder, 'mesh.key')
    const created = await run(['key', 'create', key])
    expect(created.code).toBe(0)
    expect((await stat(key)).mode & 0o777).toBe(0o600)
    const again = await run(['key', 'create', key])
    expect(again.stderr).toContain('ERR_NETWORK_KEY')
    const { text } = await run(['key', 'show', key])
    expect(created.text).toContain(text.trim())
    const first = await startNode(['--network-key', key])
    const second = await startNode(['--network-key', key, '--join', first.ready.listen[0] ?? ''])
    const at = ['--data-dir', second.ready.dataDir]
    const sub = launch(['sub', 'log/#', '--raw', '--count', '20000', '--verbose', ...at])
    await sub.seen('subscribed')
    await run(['pub', 'log/hello', 'x', '--data-dir', first.ready.dataDir])
    await sub.seen('x\n')
    const input = Array.from({ length: 19_999 }, (_, n) => `line ${n}\n`).join('')
    const pub = await run(['pub', 'log/x', '--lines', '--data-dir', first.ready.dataDir], { input })
    expect(pub.code).toBe(0)
    expect((await sub.result).text).toBe(`x\n${input}`)
    for (const node of [first, second]) {
      node.child.kill('SIGINT')
      expect((await node.result).code).toBe(0)
    }
  })

  it('start: takes its token from a file, and refuses a weak one', async () => {
    const folder = await tempFolder()
    const file = join(folder, 'token')
    await writeFile(file, 'short\n')
    const weak = await run(['start', '--token-file', file, '--data-dir', folder])
    expect(weak.stderr).toContain('--token-file')
    expect(weak.code).toBe(2)
    await writeFile(file, 'long-enough-for-a-token\n')
    const node = await startNode(['--token-file', file])
    const env = { SKEIN_TOKEN: 'long-enough-for-a-token', SKEIN_API: node.ready.api ?? '' }
    expect((await run(['status', '--ready'], { env })).code).toBe(0)
  })

  it('start: warns of a token in clear, and names commands that find this node', async () => {
    const dataDir = join(await tempFolder(), "it's data")
    const args = ['--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0', '--data-dir', dataDir]
    const node = launch(['start', '--http', '0.0.0.0:0', ...args])
    await node.seen('api.json')
    // Who listens on all addresses is found on this machine all the same.
    expect((await run(['status', '--data-dir', dataDir])).code).toBe(0)
    node.child.kill('SIGTERM')
    const { stderr, text } = await node.result
    expect(stderr).toMatch(/WARNING: the HTTP interface on 0\.0\.0\.0 has no TLS/)
    const quoted = dataDir.replace("'", String.raw`'\''`)
    expect(text).toContain(`npx skein sub --data-dir '${quoted}' 'demo/#'`)
  })

  it('start: an unusable data dir or listen address is one clear line', async () => {
    const folder = await tempFolder()
    const file = join(folder, 'file')
    await writeFile(file, '')
    const taken = createServer()
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
    const { port } = taken.address() as AddressInfo
    const results = await Promise.all([
      run(['start', '--data-dir', join(file, 'sub'), '--http', 'off']),
      run([
        'start',
        '--data-dir',
        folder,
        '--http',
        'off',
        '--no-mdns',
        '--listen',
        `/ip4/127.0.0.1/tcp/${port}`
      ])
    ])
    taken.close()
    expect(results.map(({ code }) => code)).toEqual([1, 1])
    expect(results[0]?.stderr).toContain('ERR_DATA_DIR')
    expect(results[1]?.stderr).toContain('ERR_LISTEN')
    for (const { stderr } of results) expect(stderr.trim().split('\n')).toHaveLength(1)
  })
})

describe('cli doctor and bench', () => {
  it('doctor: names every check with its result', async () => {
    const { text } = await run(['doctor', '--json', '--network-key', '/nonexistent/key'])
    const findings = JSON.parse(text) as Array<{ check: string; result: string }>
    expect(findings.map(({ check }) => check)).toEqual([
      'nodes',
      'multicast',
      'interfaces',
      'network key',
      'data dir',
      'HTTP port'
    ])
    expect(findings.find(({ check }) => check === 'network key')?.result).toBe('fail')
  })

  it('doctor: takes the network key from the running node', async () => {
    const key = join(await tempFolder(), 'mesh.key')
    await run(['key', 'create', key])
    const { text: keyId } = await run(['key', 'show', key])
    const { ready } = await startNode(['--network-key', key])
    const { text } = await run(['doctor', '--data-dir', ready.dataDir])
    expect(text).toMatch(new RegExp(`^ok +network key +.*${keyId.trim()}`, 'm'))
  })

  it('doctor: --repair puts a damaged store together', async () => {
    const first = await startNode()
    const at = ['--data-dir', first.ready.dataDir]
    expect((await run(['pub', 'a', 'kept', ...at])).code).toBe(0)
    first.child.kill('SIGTERM')
    await first.result
    await writeFile(join(first.ready.dataDir, 'store', 'CURRENT'), 'garbage\n')
    const start = [
      'start',
      '--no-mdns',
      '--listen',
      '/ip4/127.0.0.1/tcp/0',
      '--http',
      '127.0.0.1:0'
    ]
    const refused = await run([...start, ...at])
    expect(refused.stderr).toContain(`skein doctor --repair ${at.join(' ')}`)
    expect(refused.stderr).toContain('ERR_STORE_CORRUPT')
    const repaired = await run(['doctor', '--repair', ...at])
    expect(repaired).toMatchObject({ code: 0, stderr: '' })
    expect(repaired.text).toMatch(/lost: .*MANIFEST-/)
    const second = launch([...start, ...at])
    await second.seen('api.json')
    const sub = await run(['sub', 'a', '--from', 'earliest', '--raw', '--count', '1', ...at])
    expect(sub.text).toBe('kept\n')
    const nothing = await run(['doctor', '--repair', '--data-dir', await tempFolder()])
    expect({ code: nothing.code, error: nothing.stderr.match(/ERR_\w+/)?.[0] }).toEqual({
      code: 1,
      error: 'ERR_DATA_DIR'
    })
  })

  it('bench: measures two nodes', async () => {
    const args = ['bench', '--count', '2000', '--duration', '200ms', '--json']
    const { code, text, stderr } = await run(args)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const result = JSON.parse(text)
    expect(result).toMatchObject({ bytes: 128, messages: 2000 })
    expect(result.messagesPerSecond).toBeGreaterThan(0)
    expect(result.latencyMs.p50).toBeGreaterThan(0)
  })
})
