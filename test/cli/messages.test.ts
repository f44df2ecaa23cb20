import { PassThrough } from 'node:stream'
import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { EventParser } from '../../src/cli/event-parser.ts'
import { lineBatches } from '../../src/cli/line-batches.ts'
import { SkeinError } from '../../src/core/errors.ts'
import { LIMITS } from '../../src/core/limits.ts'
import { fakeNode, launch, run } from './command.ts'

// Each test runs one process or more.
vi.setConfig({ testTimeout: 60_000 })

const NEVER = new AbortController().signal

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1))
}

describe('cli pub', () => {
  it('pub: publishes an argument as text with its attributes', async () => {
    const b = await fakeNode()
    const options =
      '--json --key ü --ttl 500ms --priority 3 --header a=b=c --confirm sent --retain'.split(' ')
    const { code, text } = await run(['pub', 'orders/é', 'hällo', ...b.at, ...options])
    expect(code).toBe(0)
    expect(JSON.parse(text)).toMatchObject({ sequence: 1 })
    const [stored] = b.node.log
    expect(stored?.topic).toBe('orders/é')
    expect(Buffer.from(stored?.payload ?? []).toString()).toBe('hällo')
    expect(stored?.options).toMatchObject({
      contentType: 'text/plain',
      key: 'ü',
      ttlMs: 500,
      priority: 3,
      confirm: 'sent',
      retain: true,
      headers: { a: 'b=c' }
    })
  })

  it('pub: publishes standard input as bytes, and repeats with --count', async () => {
    const b = await fakeNode()
    const input = Buffer.from([0, 255, 10])
    const { code } = await run(['pub', 'a', '-', ...b.at, '--count', '3'], { input })
    expect(code).toBe(0)
    expect(b.node.log.map(({ payload }) => Buffer.from(payload))).toEqual([input, input, input])
    expect(b.node.log[0]?.options.contentType).toBeUndefined()
  })

  it.each([
    [['pub', 'a/+', 'x'], 2, 'ERR_TOPIC'],
    [['pub', 'a', 'x', '--priority', '12'], 2, 'ERR_OPTIONS'],
    [['pub', 'a', 'x', '--header', 'novalue'], 2, 'ERR_OPTIONS'],
    [['pub', 'a', 'x', '--lines'], 2, 'ERR_OPTIONS']
  ])('pub: %j fails with exit code %i', async (args, exit, text) => {
    const b = await fakeNode()
    const { code, stderr } = await run([...args, ...b.at])
    expect(stderr).toContain(`(${text})`)
    expect(code).toBe(exit)
    expect(b.node.log).toHaveLength(0)
  })

  it('pub: says at which line it stopped and how many are confirmed', async () => {
    const b = await fakeNode()
    b.node.failFrom = { sequence: 30_001, error: new SkeinError('ERR_STORE_FULL', 'disk full') }
    const input = 'some text that fills the line\n'.repeat(40_000)
    const { code, stderr } = await run(['pub', 'a', '--lines', ...b.at], { input })
    expect(code).toBe(1)
    expect(stderr).toMatch(/^skein: 30000 lines are confirmed, stopped at line 30001: .*STORE_FULL/)
  })

  it('pub: a line that is too long is refused, those before it are confirmed', async () => {
    const b = await fakeNode()
    const input = `a\nb\n${'x'.repeat(LIMITS.payloadBytes * 4)}\nc\n`
    const { code, stderr } = await run(['pub', 'a', '--lines', ...b.at], { input })
    expect(code).toBe(1)
    expect(stderr).toMatch(/^skein: 2 lines are confirmed, stopped at line 3: .*PAYLOAD_TOO_LARGE/)
  })

  it('pub: lines go out as they come, and an interruption says how many', async () => {
    const b = await fakeNode()
    const pub = launch(['pub', 'a', '--lines', ...b.at])
    pub.child.stdin?.write('one\ntwo\nhalf')
    await until(() => b.node.log.length === 2)
    pub.child.stdin?.write(' done\n')
    await until(() => b.node.log.length === 3)
    pub.child.kill('SIGINT')
    const { code, stderr } = await pub.result
    expect(stderr).toContain('3 lines are confirmed')
    expect(code).toBe(1)
  })
})

describe('cli sub', () => {
  it('sub: prints time, topic and payload', async () => {
    const b = await fakeNode()
    await b.node.publish('a/b', 'text \u001b[1m', { contentType: 'text/plain' })
    await b.node.publish('a/c', Buffer.from([255]))
    const { code, text } = await run(['sub', 'a/#', '--from', 'earliest', '--count', '2', ...b.at])
    expect(code).toBe(0)
    const [first, second] = b.node.log.map(({ time }) => time.toISOString())
    expect(text).toBe(`${first} a/b text \u001b[1m\n${second} a/c base64:/w==\n`)
  })

  it('sub: --json prints one object a line', async () => {
    const b = await fakeNode()
    const headers = { trace: 't', 'x-a': 'b' }
    await b.node.publish('a', '{"n":1}', { contentType: 'application/json', key: 'k', headers })
    await b.node.publish('a', 'line')
    await b.node.publish('a', Buffer.from([255]), { contentType: 'image/png' })
    const args = ['sub', 'a', '--json', '--from', 'earliest', '--count', '3', ...b.at]
    const lines = (await run(args)).text.trim().split('\n')
    const [first, second, third] = lines.map((line) => JSON.parse(line))
    expect(first).toEqual({
      id: b.node.idOf(0, 'a'),
      topic: 'a',
      payload: { n: 1 },
      contentType: 'application/json',
      key: 'k',
      headers,
      publisher: b.node.peerId,
      sequence: 1,
      time: b.node.log[0]?.time.toISOString(),
      attempt: 1
    })
    expect(second).toMatchObject({ payload: 'line', headers: {} })
    expect(third).toMatchObject({ payloadBase64: '/w==', contentType: 'image/png' })
  })

  it('sub: a large file of lines arrives byte for byte', async () => {
    const b = await fakeNode()
    const input = Buffer.concat([
      Buffer.from(Array.from({ length: 100_000 }, (_, n) => `line ${n} ä\r\n`).join('')),
      Buffer.from([0, 255, 10, 10, 10])
    ])
    const sub = launch(['sub', 'a/#', '--raw', '--count', '100003', '--verbose', ...b.at])
    await sub.seen('subscribed')
    const pub = await run(['pub', 'a/lines', '--lines', '--json', ...b.at], { input })
    expect(JSON.parse(pub.text)).toMatchObject({ published: 100_003 })
    const { code, stdout } = await sub.result
    expect(code).toBe(0)
    expect(stdout.equals(input)).toBe(true)
  })

  it('sub: a durable one goes on where the output ended', async () => {
    const b = await fakeNode()
    for (let n = 0; n < 3000; n++) await b.node.publish('a', String(n))
    const args = ['sub', 'a', '--durable', 'd', '--from', 'earliest', '--raw', ...b.at]
    const first = await run([...args, '--count', '1700'])
    expect(first.code).toBe(0)
    const second = await run([...args, '--count', '1300'])
    expect(`${first.text}${second.text}`).toBe(
      Array.from({ length: 3000 }, (_, n) => `${n}\n`).join('')
    )
    const [status] = await b.node.subscriptions()
    expect(status?.lag).toBe(0)
  })

  it('sub: a durable one that is killed repeats only what was not acknowledged', async () => {
    const b = await fakeNode()
    for (let n = 0; n < 100; n++) await b.node.publish('a', String(n))
    const args = ['sub', 'a', '--durable', 'd', '--from', 'earliest', '--raw', ...b.at]
    const killed = launch(args)
    await until(() => (b.node.durables.get('d')?.next ?? 0) > 0)
    killed.child.kill('SIGKILL')
    const before = (await killed.result).text.trim().split('\n')
    for (let n = 100; n < 500; n++) await b.node.publish('a', String(n))
    await until(() => b.node.durables.get('d')?.open === undefined)
    const acknowledged = b.node.durables.get('d')?.next ?? 0
    expect(before.length).toBeGreaterThanOrEqual(acknowledged)
    const { text } = await run([...args, '--count', String(500 - acknowledged)])
    expect(text.split('\n')[0]).toBe(String(acknowledged))
    await b.node.publish('a', 'end')
    expect((await run([...args, '--count', '1'])).text).toBe('end\n')
  })

  it('sub: resumes by cursor when its node restarts', async () => {
    const b = await fakeNode()
    for (let n = 0; n < 3; n++) await b.node.publish('a', String(n))
    const sub = launch(['sub', 'a', '--raw', '--from', 'earliest', '--count', '5', ...b.at])
    await sub.seen('2\n')
    for (const live of b.node.live) await live.stop()
    await sub.seen('trying again')
    await b.node.publish('a', '3')
    await b.node.publish('a', '4')
    const { code, text } = await sub.result
    expect(text).toBe('0\n1\n2\n3\n4\n')
    expect(code).toBe(0)
  })

  it('sub: ends quietly when its reader has gone', async () => {
    const b = await fakeNode()
    for (let n = 0; n < 20_000; n++) await b.node.publish('a', 'x'.repeat(100))
    const sub = launch(['sub', 'a', '--from', 'earliest', ...b.at])
    sub.child.stdout?.once('data', () => sub.child.stdout?.destroy())
    const { code, stderr } = await sub.result
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  })

  it('sub: a timeout before the count is a failure, without count the end', async () => {
    const b = await fakeNode()
    const [short, plain] = await Promise.all([
      run(['sub', 'a', '--count', '1', '--timeout', '300ms', ...b.at]),
      run(['sub', 'a', '--timeout', '300ms', ...b.at])
    ])
    expect(short.code).toBe(1)
    expect(short.stderr).toContain('ERR_TIMEOUT')
    expect(plain).toMatchObject({ code: 0, stderr: '' })
  })

  it('sub: a bad filter and an unreachable node have their exit codes', async () => {
    const b = await fakeNode()
    expect((await run(['sub', 'a/#/b', ...b.at])).code).toBe(2)
    const nobody = await run(['sub', 'a', '--api', 'http://127.0.0.1:1'])
    expect(nobody.stderr).toContain('ERR_NO_NODE')
    expect(nobody.code).toBe(3)
    const url = b.sidecar.url
    const wrong = await run(['sub', 'a', '--api', url], { env: { SKEIN_TOKEN: 'wrong' } })
    expect(wrong.stderr).toContain('ERR_TOKEN')
    expect(wrong.code).toBe(1)
  })
})

describe('cli status', () => {
  it('status: shows the node, its peers, topics and subscriptions', async () => {
    const b = await fakeNode()
    b.node.subscribe('a/#', { durable: 'd' })
    const [status, peers, topics, subscriptions] = await Promise.all([
      run(['status', '--ready', ...b.at]),
      run(['peers', ...b.at]),
      run(['topics', '--json', ...b.at]),
      run(['subscriptions', ...b.at])
    ])
    expect(status).toMatchObject({ code: 0, text: expect.stringContaining(b.node.peerId) })
    expect(peers.text).toMatch(/^NAME +PEER.*\nben +12D3\w+ +suspect/)
    expect(JSON.parse(topics.text)).toMatchObject([{ channel: 'orders' }])
    expect(subscriptions.text).toMatch(/NAME.*\nd +a\/#/)
  })

  it('status: --ready fails for a node that is not, --wait waits for it', async () => {
    const b = await fakeNode()
    b.node.isReady = false
    expect((await run(['status', '--ready', ...b.at])).code).toBe(1)
    const waiting = launch(['status', '--ready', '--wait', '10s', '--json', ...b.at])
    setTimeout(() => {
      b.node.isReady = true
    }, 800)
    expect((await waiting.result).code).toBe(0)
  })

  it('subscriptions: rm deletes one', async () => {
    const b = await fakeNode()
    await b.node.subscribe('a', { durable: 'd x' }).stop()
    expect(await run(['subscriptions', 'rm', 'd x', ...b.at])).toMatchObject({
      code: 0,
      stderr: ''
    })
    expect(b.node.durables.size).toBe(0)
    const again = await run(['subscriptions', 'rm', 'd x', ...b.at])
    expect(again.code).toBe(1)
    expect(again.stderr).toContain('ERR_SUBSCRIPTION_UNKNOWN')
  })
})

describe('cli streams', () => {
  it('events: are the same however the text is cut', () => {
    const text = ':\n\nid: 1\nevent: message\ndata: {"a":1}\n\nevent: gap\ndata: x\ndata: y\n\n'
    fc.assert(
      fc.property(fc.array(fc.nat(text.length)), (cuts) => {
        const parser = new EventParser()
        const bounds = [0, ...cuts.toSorted((a, b) => a - b), text.length]
        const events = bounds.flatMap((cut, i) => parser.push(text.slice(bounds[i - 1] ?? 0, cut)))
        expect(events).toEqual([
          { event: 'message', id: '1', data: '{"a":1}' },
          { event: 'gap', id: undefined, data: 'x\ny' }
        ])
      })
    )
  })

  it('lines: batches hold exactly the lines of the input, or the first few', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.constantFrom('a', '\n', 'bc\n', '\r\n', '\n\n'), { maxLength: 30 }),
        fc.option(fc.integer({ min: 1, max: 10 }), { nil: undefined }),
        async (chunks, maxLines) => {
          const input = new PassThrough()
          for (const chunk of chunks) input.write(chunk)
          input.end()
          const got: Buffer[] = []
          let count = 0
          for await (const { bytes, lines } of lineBatches(input, { maxLines, signal: NEVER })) {
            got.push(bytes)
            count += lines
          }
          const lines = chunks.join('').match(/[^\n]*\n|[^\n]+$/g) ?? []
          const wanted = lines.slice(0, maxLines ?? lines.length)
          expect(Buffer.concat(got).toString()).toBe(wanted.join(''))
          expect(count).toBe(wanted.length)
        }
      ),
      { numRuns: 50 }
    )
  })
})
