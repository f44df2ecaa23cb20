import { describe, expect, it, vi } from 'vitest'
import { SkeinError } from '../../src/core/errors.ts'
import type { Gap } from '../../src/node/contract.ts'
import { BEN } from '../sidecar/fake-inbox.ts'
import { fakeNode, run } from './command.ts'

// Each test runs one process or more.
vi.setConfig({ testTimeout: 60_000 })

const cells = (text: string): string[][] =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => line.split(/ {2,}/))

describe('cli send', () => {
  it('send: sends an argument as text with its attributes, and prints the id', async () => {
    const b = await fakeNode()
    const options = '--ttl 500ms --custodians 2 --key ü --header a=b=c'.split(' ')
    const { code, text } = await run(['send', 'ben', 'alerts/é', 'hällo', ...b.at, ...options])
    expect(code).toBe(0)
    const [sent] = b.node.inbox.sent
    expect(text).toBe(`${sent?.entry.id}\n`)
    expect(sent?.entry.topic).toBe('alerts/é')
    expect(Buffer.from(sent?.payload ?? []).toString()).toBe('hällo')
    expect(sent?.options).toEqual({
      contentType: 'text/plain',
      key: 'ü',
      ttlMs: 500,
      custodians: 2,
      headers: { a: 'b=c' }
    })
  })

  it('send: sends standard input as bytes, and waits for the receipt', async () => {
    const b = await fakeNode()
    b.node.inbox.onSend = ({ settle }) => settle()
    const input = Buffer.from([0, 255, 10])
    const { code, text } = await run(['send', BEN, 'a', '--wait', '60s', ...b.at], { input })
    expect({ code, text }).toEqual({
      code: 0,
      text: `${b.node.inbox.sent[0]?.entry.id} delivered\n`
    })
    expect(Buffer.from(b.node.inbox.sent[0]?.payload ?? [])).toEqual(input)
    expect(b.node.inbox.sent[0]?.options).toEqual({})
  })

  it('send: fails when the receipt does not come in time, and still says the id', async () => {
    const b = await fakeNode()
    const args = ['send', 'ben', 'a', 'x', '--wait', '10ms', ...b.at]
    const { code, text, stderr } = await run(args)
    expect(code).toBe(1)
    expect(text).toBe(`${b.node.inbox.sent[0]?.entry.id}\n`)
    expect(stderr).toMatch(/^skein: No receipt of 'ben' came within 10ms.* \(ERR_TIMEOUT\)\n$/)
    const json = await run([...args, '--json'])
    expect(json.code).toBe(1)
    expect(JSON.parse(json.text)).toMatchObject({ to: BEN, delivered: false })
  })

  it('send: an unknown peer is one clear line', async () => {
    const b = await fakeNode()
    const { code, stderr } = await run(['send', 'nobody', 'a', 'x', ...b.at])
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: "skein: No peer 'nobody' is known (ERR_PEER_UNKNOWN)\n"
    })
  })

  it('outbox: shows what waits for whom', async () => {
    const b = await fakeNode()
    expect((await run(['outbox', ...b.at])).text).toBe('nothing waits\n')
    await b.node.send('ben', 'alerts/disk', 'four', { custodians: 1 })
    const [entry] = await b.node.outbox()
    const { text } = await run(['outbox', ...b.at])
    expect(cells(text)).toEqual([
      ['TO', 'NAME', 'TOPIC', 'BYTES', 'SINCE', 'EXPIRES', 'CUSTODIANS'],
      [
        BEN,
        'ben',
        'alerts/disk',
        '4',
        entry?.since.toISOString(),
        entry?.expiresAt.toISOString(),
        '1'
      ]
    ])
    const json = await run(['outbox', '--json', ...b.at])
    expect(JSON.parse(json.text)).toMatchObject({ entries: [{ id: entry?.id }] })
  })
})

describe('cli subscriptions', () => {
  it('subscriptions: lists those of the node, and those of the mesh with their state', async () => {
    const b = await fakeNode()
    await b.node.subscribe('a/#', { durable: 'mine', from: 'earliest' }).stop()
    await b.node.publish('a/b', 'x')
    const [own, mesh] = (await run(['subscriptions', ...b.at])).text.split('\n\n')
    expect(cells(own ?? '').map((row) => row.slice(0, 6))).toEqual([
      ['NAME', 'FILTER', 'STATE', 'IN FLIGHT', 'LAG', 'GAPS'],
      ['mine', 'a/#', 'closed', '0', '1', '0']
    ])
    expect(cells(mesh ?? '').map((row) => row.slice(0, 5))).toEqual([
      ['Durable subscribers of the mesh:'],
      ['NODE', 'NAME', 'FILTER', 'STATE', 'LAG'],
      ['fake', 'mine', 'a/#', 'up', '1'],
      ['ben', 'billing', 'orders/#', 'off for 3 h', '7']
    ])
    const json = await run(['subscriptions', '--json', ...b.at])
    expect(JSON.parse(json.text)).toMatchObject({
      subscriptions: [{ durable: 'mine' }],
      subscribers: [{ node: 'fake' }, { node: 'ben', lag: 7 }]
    })
  })

  it('subscriptions: skip gives up gaps, rm the subscription', async () => {
    const b = await fakeNode()
    await b.node.subscribe('a/#', { durable: 'mine' }).stop()
    const gap: Gap = {
      channel: 'a',
      publisher: 'p',
      session: '01',
      from: 3,
      to: 4,
      reason: 'missing'
    }
    b.node.gaps.set('mine', [gap])
    const skip = ['subscriptions', 'skip', 'mine', ...b.at]
    expect(cells((await run(skip)).text)[1]).toEqual(['a', 'p', '01', '3', '4'])
    expect((await run(skip)).text).toBe('nothing is missing\n')
    b.node.gaps.set('mine', [gap])
    expect(JSON.parse((await run([...skip, '--json'])).text)).toEqual({
      skipped: [{ ...gap, reason: 'skipped' }]
    })
    expect((await run(['subscriptions', 'rm', 'mine', ...b.at])).code).toBe(0)
    expect((await run(skip)).stderr).toContain('ERR_SUBSCRIPTION_UNKNOWN')
  })

  it('peers: shows names and states', async () => {
    const b = await fakeNode()
    const [head, row] = cells((await run(['peers', ...b.at])).text)
    expect(head?.slice(0, 5)).toEqual(['NAME', 'PEER', 'STATE', 'LINK', 'CUSTODIAN'])
    expect(row?.slice(0, 5)).toEqual(['ben', BEN, 'suspect', '-', 'yes'])
  })

  it('sub: takes the inbox as a filter, and says what to do at gaps', async () => {
    const b = await fakeNode()
    await b.node.publish('@me/alerts', 'x')
    const args = ['--from', 'earliest', '--count', '1', '--raw', ...b.at]
    const { text } = await run(['sub', '@me/#', '--durable', 'd', '--on-gap', 'skip', ...args])
    expect(text).toBe('x\n')
    expect(b.node.durables.get('d')?.options.onGap).toBe('skip')
    const ephemeral = await run(['sub', '@me/#', '--on-gap', 'skip', ...args])
    expect({ code: ephemeral.code, stderr: ephemeral.stderr }).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('onGap') as string
    })
  })
})

describe('cli pub for others', () => {
  it.each([
    ['replicas=2', { replicas: 2 }],
    ['replicas=2;timeout=5', { replicas: 2, timeoutMs: 5000 }],
    ['replicas=3; timeout=500ms', { replicas: 3, timeoutMs: 500 }]
  ])('pub: --confirm %s and --id are passed on', async (confirm, expected) => {
    const b = await fakeNode()
    const { code } = await run(['pub', 'a', 'x', '--confirm', confirm, '--id', 'ü', ...b.at])
    expect(code).toBe(0)
    expect(b.node.log[0]?.options).toMatchObject({ confirm: expected, id: 'ü' })
  })

  it('pub: too few replicas in time is a failure', async () => {
    const b = await fakeNode()
    b.node.failFrom = { sequence: 1, error: new SkeinError('ERR_REPLICAS', 'one of two') }
    const { code, stderr } = await run(['pub', 'a', 'x', '--confirm', 'replicas=2', ...b.at])
    expect({ code, stderr }).toEqual({ code: 1, stderr: 'skein: one of two (ERR_REPLICAS)\n' })
  })
})
