import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { defaultDataDir, readApiFile, userDataHome, writeApiFile } from '../../src/cli/data-home.ts'
import { locateNode } from '../../src/cli/node-locator.ts'
import { resolveStartOptions, variableOf } from '../../src/cli/start-options.ts'
import { escapeControls } from '../../src/cli/terminal.ts'
import { durationText, parseDuration } from '../../src/cli/units.ts'
import { run, tempFolder } from './command.ts'

/** A pid that no process has: above the largest the kernel gives. */
const DEAD_PID = 2 ** 22 + 1

describe('cli usage', () => {
  it('help: lists the commands that exist, and no others', async () => {
    const { code, text } = await run(['--help'])
    expect(code).toBe(0)
    const commands = [...text.matchAll(/^ {2}(\w+)(?: .*?)? {2,}\S/gm)].map((match) => match[1])
    expect(commands).toEqual([
      'start',
      'pub',
      'sub',
      'send',
      'outbox',
      'request',
      'reply',
      'stream',
      'history',
      'status',
      'peers',
      'topics',
      'top',
      'subscriptions',
      'groups',
      'dlq',
      'key',
      'doctor',
      'bench',
      'sim',
      'help'
    ])
  })

  it.each([
    [['nothing'], "unknown command 'nothing'"],
    [['pub'], "missing required argument 'topic'"],
    [['sub', 'a', '--grope', 'g'], "unknown option '--grope'"],
    [['send', 'ben'], "missing required argument 'topic'"],
    [['send', 'ben', 'a', 'x', '--wait', 'soon'], "--wait: 'soon' is not a duration"],
    [['send', 'ben', 'a', 'x', '--custodians', 'all'], '--custodians'],
    [['pub', 'a', '--lines', '--id', 'x'], '--id'],
    [['pub', 'a', 'x', '--confirm', 'replicas=2;timeout=soon'], '--confirm'],
    [['pub', 'a', 'b', '--retained'], "unknown option '--retained'"],
    [['start', '--mqtt', 'x'], "mqtt: 'x' is not host:port"],
    [['start', '--http', 'off', '--mqtt', '127.0.0.1:0'], '--token-file'],
    [['start', '--http', 'nowhere'], "'nowhere' is not host:port"],
    [['start', '--log-level', 'loud'], 'loud'],
    [['sub', 'a', '--raw', '--json'], '--raw'],
    [['sub', 'a', '--timeout', 'soon'], "--timeout: 'soon' is not a duration"],
    [['status', '--api', 'ftp://x'], '--api']
  ])('usage: %j is wrong usage: one line, exit code 2', async (args, text) => {
    const { code, stderr } = await run(args)
    expect(stderr).toContain(text)
    expect(stderr.trim().split('\n')).toHaveLength(1)
    expect(stderr).toMatch(/^skein: .* \(ERR_OPTIONS\)\n$/)
    expect(code).toBe(2)
  })

  it('usage: a stack trace only with --verbose', async () => {
    const plain = await run(['status'])
    expect(plain).toMatchObject({ code: 3, text: '' })
    expect(plain.stderr).toMatch(/^skein: .*skein start \(ERR_NO_NODE\)\n$/)
    const verbose = await run(['status', '--verbose'])
    expect(verbose.stderr).toContain('    at ')
  })

  it('usage: durations have units, bare numbers are seconds', () => {
    expect(
      ['500ms', '60s', '1.5', '2m', '1h', '7d'].map((text) => parseDuration(text, 'x'))
    ).toEqual([500, 60_000, 1500, 120_000, 3_600_000, 604_800_000])
    for (const bad of ['', '0', '-1', '1w', 's', '1e9']) {
      expect(() => parseDuration(bad, '--ttl')).toThrow('--ttl')
    }
  })

  it('usage: lengths of time are shown in the largest unit that fits', () => {
    expect(
      [-5, 0, 59_999, 60_000, 3 * 3_600_000 + 1, 50 * 3_600_000].map((ms) => durationText(ms))
    ).toEqual(['0 s', '0 s', '59 s', '1 min', '3 h', '2 d'])
  })

  it('usage: control characters cannot reach a terminal', () => {
    expect(escapeControls('a\u001b[31m\u0007\u009b\r\n\u202eb\tä')).toBe(
      'a\\x1b[31m\\x07\\x9b\\x0d\\n\\u202eb\tä'
    )
  })
})

describe('cli start options', () => {
  it('options: flags go before the environment, the environment before the file', async () => {
    const folder = await tempFolder()
    const config = join(folder, 'skein.yaml')
    await writeFile(
      config,
      'name: file\nmesh: file\ndata-dir: file\nhttp: "off"\nmdns: false\ncustodian: false\nkeep: orders/#\njoin: [a, b]\nchannels:\n  orders/#:\n    retention: { maxAgeMs: 5 }\n'
    )
    const env = { SKEIN_NAME: 'env', SKEIN_MESH: 'env', SKEIN_ALLOW_HOST: 'x, y' }
    const options = await resolveStartOptions({ name: 'flag', config }, env)
    expect(options).toMatchObject({
      name: 'flag',
      mesh: 'env',
      dataDir: 'file',
      http: 'off',
      noMdns: true,
      noCustodian: true,
      keep: ['orders/#'],
      join: ['a', 'b'],
      allowHost: ['x', 'y'],
      listen: undefined,
      fileOnly: { channels: { 'orders/#': { retention: { maxAgeMs: 5 } } } }
    })
    expect(variableOf('networkKey')).toBe('SKEIN_NETWORK_KEY')
    const said = { SKEIN_NO_MDNS: '1', SKEIN_NO_CUSTODIAN: '0', SKEIN_KEEP: 'a/#, b' }
    expect(await resolveStartOptions({}, said)).toMatchObject({
      noMdns: true,
      noCustodian: false,
      keep: ['a/#', 'b']
    })
  })

  it.each([
    ['nmae: x', 'nmae'],
    ['- a', 'config'],
    ['a: [', 'config'],
    ['mdns: perhaps', 'mdns'],
    ['join: { a: 1 }', 'join'],
    ['name: []', 'name']
  ])('options: the file %j is refused, naming the option', async (content, option) => {
    const folder = await tempFolder()
    const config = join(folder, 'skein.yaml')
    await writeFile(config, content)
    await expect(resolveStartOptions({ config }, {})).rejects.toMatchObject({
      code: 'ERR_OPTIONS',
      message: expect.stringContaining(option)
    })
  })
})

describe('cli node locator', () => {
  const env = (home: string): NodeJS.ProcessEnv => ({ XDG_DATA_HOME: home })

  it('locator: data dirs follow the system, then mesh and name', () => {
    expect(defaultDataDir('m', 'n', env('/h'))).toBe('/h/skein/m/n')
    expect(defaultDataDir('m', undefined, env('/h'))).toBe('/h/skein/m/default')
    expect(defaultDataDir('m', 'n', { STATE_DIRECTORY: '/var/lib/skein' })).toBe('/var/lib/skein')
    expect(userDataHome(env('/h'))).toBe('/h')
  })

  it('locator: takes the only one running, and asks when there are several', async () => {
    const home = await tempFolder()
    await expect(locateNode({}, env(home))).rejects.toMatchObject({ code: 'ERR_NO_NODE', exit: 3 })
    const dir = (mesh: string, name: string): string => join(home, 'skein', mesh, name)
    await writeApiFile(dir('a', 'dead'), { url: 'http://x:1', token: 't', pid: DEAD_PID })
    await expect(locateNode({}, env(home))).rejects.toMatchObject({ code: 'ERR_NO_NODE' })
    await writeApiFile(dir('a', 'one'), { url: 'http://x:2', token: 't', pid: process.pid })
    expect(await locateNode({}, env(home))).toMatchObject({ url: 'http://x:2', token: 't' })
    await writeApiFile(dir('b', 'two'), { url: 'http://x:3', token: null, pid: process.pid })
    await expect(locateNode({}, env(home))).rejects.toMatchObject({
      code: 'ERR_MANY_NODES',
      exit: 2,
      message: expect.stringMatching(/x:2.*x:3/)
    })
    expect(await locateNode({ mesh: 'b' }, env(home))).toMatchObject({ url: 'http://x:3' })
    expect(await locateNode({ name: 'one' }, env(home))).toMatchObject({ url: 'http://x:2' })
    await expect(locateNode({ name: 'three' }, env(home))).rejects.toMatchObject({ exit: 3 })
    await expect(locateNode({ dataDir: dir('a', 'dead') }, env(home))).rejects.toMatchObject({
      exit: 3,
      message: expect.stringContaining('is gone')
    })
  })

  it('locator: a URL goes with the token of the environment', async () => {
    expect(await locateNode({ api: 'http://127.0.0.1:7400/' }, { SKEIN_TOKEN: 'secret' })).toEqual({
      url: 'http://127.0.0.1:7400',
      token: 'secret'
    })
  })

  it('locator: a damaged api.json is named', async () => {
    const folder = await tempFolder()
    await writeFile(join(folder, 'api.json'), '{')
    await expect(locateNode({ dataDir: folder })).rejects.toMatchObject({
      code: 'ERR_DATA_DIR',
      message: expect.stringContaining('api.json')
    })
  })

  it('locator: api.json is readable by its owner only', async () => {
    const folder = join(await tempFolder(), 'new')
    await mkdir(folder)
    await chmod(folder, 0o755)
    await writeApiFile(folder, { url: 'u', token: 't', pid: 1 })
    const { stat } = await import('node:fs/promises')
    expect((await stat(join(folder, 'api.json'))).mode & 0o777).toBe(0o600)
    expect(await readApiFile(folder)).toEqual({ url: 'u', mqtt: null, token: 't', pid: 1 })
  })
})
