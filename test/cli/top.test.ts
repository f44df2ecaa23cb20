import { spawn, spawnSync } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { writeApiFile } from '../../src/cli/data-home.ts'
import { SkeinError } from '../../src/core/errors.ts'
import { type View, frameOf, reportOf, scrollRoom } from '../../src/cli/top/frame.ts'
import { PAGE_COUNT } from '../../src/cli/top/pages.ts'
import { Sampler } from '../../src/cli/top/sampler.ts'
import { Screen, type Terminal } from '../../src/cli/top/screen.ts'
import { type Sample, type Snapshot, ratesBetween } from '../../src/cli/top/snapshot.ts'
import { fit, paint } from '../../src/cli/top/styled-line.ts'
import { watch } from '../../src/cli/top/watch.ts'
import { skipFor } from '../fixtures/needs.ts'
import { TOKEN, startBench } from '../sidecar/http-client.ts'
import { fakeNode, run, tempFolder } from './command.ts'

const NOW = Date.parse('2030-01-01T01:00:00Z')
const minutesAgo = (minutes: number): string => new Date(NOW - minutes * 60_000).toISOString()

function snapshotOf(names: readonly string[] = ['ann', 'ben']): Snapshot {
  const peers = names.map((name, i) => ({
    peerId: `12D3${name}`,
    name,
    state: i === 0 ? ('up' as const) : ('down' as const),
    since: minutesAgo(i + 1),
    lastSeen: minutesAgo(i),
    custodian: true,
    addresses: [],
    connected: i === 0,
    channels: ['orders'],
    services: [],
    roundTripMs: i === 0 ? 1.25 : undefined
  }))
  const subscribers = names.map((node, i) => ({
    peerId: `12D3${node}`,
    node,
    subscription: `sub-${node}`,
    filter: 'orders/#',
    lag: i * 1000,
    state: i === 0 ? ('up' as const) : ('down' as const),
    lastSeen: minutesAgo(i),
    createdAt: minutesAgo(60)
  }))
  const journal = { first: 0, next: 5000 }
  return {
    status: {
      peerId: '12D3me',
      name: 'orders-1',
      mesh: 'shop',
      version: '0.0.0',
      startedAt: minutesAgo(30),
      ready: true,
      addresses: [],
      dataDir: '/data',
      networkKeyId: 'ab',
      peers: { connected: 1, known: 2 },
      store: {
        condition: 'open',
        epoch: 'e',
        bytes: 3 * 1024 * 1024,
        records: 4321,
        freeBytes: 1024 ** 3,
        reserveBytes: 1024 ** 2
      },
      topics: ['orders'],
      subscriptions: 1,
      published: 100,
      delivered: 50,
      outbox: 7,
      subscribers
    },
    peers,
    topics: [
      { channel: 'orders', joined: true, members: 1, messages: 5000, bytes: 9, journal, logs: [] }
    ],
    groups: [],
    deadLetters: [],
    outbox: []
  }
}

const sampleOf = (snapshot: Snapshot): Sample => ({ snapshot, at: NOW, rates: undefined })
const viewOf = (snapshot: Snapshot, page = 0): View => ({
  sample: sampleOf(snapshot),
  fault: undefined,
  page,
  scroll: 0
})
const plain = (view: View, columns: number, rows: number): string[] =>
  frameOf(view, { columns, rows }).map((line) => paint(line, columns, false))

describe('top: frame', () => {
  it.each([
    [80, 24],
    [200, 60],
    [20, 8],
    [1, 1]
  ])('top: %i x %i is filled exactly, whatever the list', (columns, rows) => {
    const snapshot = snapshotOf(Array.from({ length: 100 }, (_, n) => `node-with-a-long-name-${n}`))
    for (let page = 0; page < PAGE_COUNT; page++) {
      const lines = plain(viewOf(snapshot, page), columns, rows)
      expect(lines).toHaveLength(rows)
      expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(columns)
    }
  })

  it('top: the header and the lists say what matters, within 80 columns', () => {
    const text = plain(viewOf(snapshotOf()), 80, 24).join('\n')
    expect(text).toContain('orders-1 · mesh shop · ready · up 30 min')
    expect(text).toContain('peers 1 connected · 1 down · store open · 3.0 MiB in 4,321 records')
    expect(text).toContain('outbox 7 · 1 subscribers off and behind')
    expect(text).toMatch(
      /^\[Peers 2\] +Topics 1 +Subscribers 2 +Groups 0 +Outbox 7 +Dead letters 0/m
    )
    expect(text).toMatch(/^ann +up +1 min +connected +1\.3 ms/m)
    expect(text).toMatch(/^ben +down +2 min/m)
    const colours = frameOf(viewOf(snapshotOf(), 2), { columns: 80, rows: 24 })
    const off = colours
      .map((line) => paint(line, 80, true))
      .find((line) => line.includes('sub-ben'))
    expect(off).toContain('\u001b[1;31msub-ben')
    expect(reportOf(sampleOf(snapshotOf())).map((line) => paint(line, 999, false))).toContain(
      'no dead letters'
    )
  })

  it('top: names of others are escaped and cut by their width', () => {
    const evil = 'a\u001b[2J\u202e\nb'
    for (const line of plain(viewOf(snapshotOf([evil]), 0), 80, 24)) {
      // oxlint-disable-next-line no-control-regex
      expect(line).not.toMatch(/[\u0000-\u001f\u202e]/)
    }
    expect(fit('日本語', 5)).toEqual({ text: '日本…', width: 5 })
    expect(fit('日本語', 6)).toEqual({ text: '日本語', width: 6 })
    expect(fit('e\u0301x', 2)).toEqual({ text: 'e\u0301x', width: 2 })
    expect(fit('abc', 0)).toEqual({ text: '', width: 0 })
  })

  it('top: a list is scrolled to its end and no further', () => {
    const view = viewOf(snapshotOf(Array.from({ length: 30 }, (_, n) => `n${100 + n}`)), 2)
    const size = { columns: 80, rows: 24 }
    const room = scrollRoom(view, size)
    expect(room).toBe(30 - 17)
    const end = plain({ ...view, scroll: 999 }, 80, 24)
    expect(end.at(-2)).toMatch(/^sub-n100 /)
    expect(end.at(5)).toMatch(/^SUBSCRIPTION/)
  })

  it('top: rates are of two snapshots of one life', () => {
    const was = sampleOf(snapshotOf())
    const later = snapshotOf()
    const topics = later.topics.map((topic) => ({ ...topic, journal: { first: 0, next: 6000 } }))
    const status = { ...later.status, published: 300 }
    const is = { snapshot: { ...later, topics, status }, at: NOW + 2000 }
    expect(ratesBetween(was, is)).toEqual({
      published: 100,
      delivered: 0,
      channels: new Map([['orders', 500]])
    })
    const restarted = { ...is.snapshot, status: { ...status, startedAt: minutesAgo(0) } }
    expect(ratesBetween(was, { ...is, snapshot: restarted })).toBeUndefined()
  })
})

class FakeInput extends EventEmitter {
  raw = false
  setRawMode(raw: boolean): this {
    this.raw = raw
    return this
  }
  pause(): this {
    return this
  }
  resume(): this {
    return this
  }
}

function fakeTerminal(): { terminal: Terminal; input: FakeInput; written: string[] } {
  const input = new FakeInput()
  const written: string[] = []
  const output = Object.assign(new EventEmitter(), {
    columns: 80,
    rows: 24,
    hasColors: () => false,
    write: (text: string) => written.push(text) > 0
  })
  return { terminal: { input, output } as unknown as Terminal, input, written }
}

describe('top: screen', () => {
  it('top: keys turn pages, a restart is survived, q gives the terminal back', async () => {
    vi.useFakeTimers()
    onTestFinished(() => void vi.useRealTimers())
    const { input, terminal, written } = fakeTerminal()
    const answers = [
      () => Promise.reject(new SkeinError('ERR_NO_NODE', 'No node answers.')),
      () => Promise.resolve(sampleOf(snapshotOf(['eve'])))
    ]
    const take = vi.fn<() => Promise<Sample>>(() =>
      (answers.shift() ?? (() => new Promise<Sample>(() => {})))()
    )
    const { signal } = new AbortController()
    const first = sampleOf(snapshotOf())
    const watching = watch({ sampler: { take }, screen: new Screen(terminal), signal }, first)
    expect(input.raw).toBe(true)
    expect(written[0]).toContain('\u001b[?1049h')
    expect(written.at(-1)).toContain('[Peers 2]')
    for (const name of ['tab', 'right', 'left', 'right', 'down', 'up', 'x']) {
      input.emit('keypress', undefined, { name })
    }
    expect(written.at(-1)).toContain('[Subscribers 2]')
    await vi.advanceTimersByTimeAsync(1000)
    expect(written.at(-1)).toContain('No node answers; trying again')
    await vi.advanceTimersByTimeAsync(1000)
    expect(written.at(-1)).toContain('sub-eve')
    expect(written.at(-1)).not.toContain('trying again')
    // It hangs: said, and keys still work.
    await vi.advanceTimersByTimeAsync(5000)
    expect(written.at(-1)).toContain('The node does not answer; trying again')
    input.emit('keypress', undefined, { name: 'q' })
    await watching
    expect(input.raw).toBe(false)
    expect(written.at(-1)).toBe('\u001b[?25h\u001b[?1049l')
    expect(input.listenerCount('keypress')).toBe(0)
  })

  it('top: a fault of its own gives the terminal back, too', async () => {
    vi.useFakeTimers()
    onTestFinished(() => void vi.useRealTimers())
    const { input, terminal, written } = fakeTerminal()
    const sampler = { take: () => Promise.reject(new TypeError('boom')) }
    const { signal } = new AbortController()
    const screen = new Screen(terminal)
    const watching = watch({ sampler, screen, signal }, sampleOf(snapshotOf()))
    const ended = watching.catch((error: unknown) => error)
    await vi.advanceTimersByTimeAsync(1000)
    expect(await ended).toMatchObject({ message: 'boom' })
    expect(input.raw).toBe(false)
    expect(written.at(-1)).toBe('\u001b[?25h\u001b[?1049l')
  })
})

describe('top: command', () => {
  it('top: finds the node again after a restart, at its new port and with its new token', async () => {
    const dataDir = await tempFolder()
    const first = await startBench()
    await writeApiFile(dataDir, { url: first.sidecar.url, token: TOKEN, pid: process.pid })
    const sampler = new Sampler({ dataDir })
    onTestFinished(() => sampler.close())
    expect((await sampler.take(false)).rates).toBeUndefined()
    expect((await sampler.take(false)).rates).toBeDefined()
    await first.sidecar.stop()
    await expect(sampler.take(false)).rejects.toMatchObject({ code: 'ERR_NO_NODE' })
    const second = await startBench({ token: 'another-token-of-the-node' })
    const api = { url: second.sidecar.url, token: 'another-token-of-the-node', pid: process.pid }
    await writeApiFile(dataDir, api)
    expect((await sampler.take(true)).snapshot.status.name).toBe('fake')
  })

  it('top: prints text where there is no terminal, and one object with --json', async () => {
    const node = await fakeNode()
    const [text, json] = await Promise.all([
      run(['top', ...node.at]),
      run(['top', '--json', ...node.at])
    ])
    expect([text.code, json.code]).toEqual([0, 0])
    // oxlint-disable-next-line no-control-regex
    expect(text.text).not.toMatch(/\u001b/)
    expect(text.text).toMatch(/^Peers\nNAME +STATE +FOR/m)
    expect(text.text).toMatch(/^Topics\nCHANNEL/m)
    expect(Object.keys(JSON.parse(json.text))).toEqual([
      'at',
      'status',
      'peers',
      'topics',
      'groups',
      'deadLetters',
      'outbox'
    ])
  })

  it('top: on a terminal of 80 x 24 it draws, quits by q and leaves the terminal as it was', async (context) => {
    const lack = spawnSync('script', ['--version']).error
    skipFor(lack === undefined ? undefined : 'script (bsdutils) is not installed', context)
    const node = await fakeNode()
    const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
    const top = [process.execPath, main, 'top', ...node.at]
    const command = `stty cols 80 rows 24; before=$(stty -g); ${top.join(' ')}; echo "code=$?"; [ "$before" = "$(stty -g)" ] && echo restored`
    const child = spawn('script', ['-qec', command, '/dev/null'], {
      env: { ...process.env, NO_COLOR: '1' }
    })
    onTestFinished(() => void child.kill('SIGKILL'))
    let seen = ''
    const keys = [
      ['[Peers 1]', '\t'],
      ['[Topics 1]', 'q']
    ]
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      seen += text
      const [shown, key] = keys[0] ?? []
      if (shown === undefined || !seen.includes(shown)) return
      keys.shift()
      child.stdin.write(key ?? '')
    })
    await once(child, 'close')
    expect(seen).toContain('\u001b[?1049h')
    expect(seen.slice(seen.indexOf('\u001b[?1049l'))).toMatch(/code=0\s+restored/)
  })
})
