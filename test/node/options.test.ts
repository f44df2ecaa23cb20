import { describe, expect, it } from 'vitest'
import {
  checkPublishOptions,
  checkSendOptions,
  checkSubscribeOptions,
  resolveOptions
} from '../../src/node/options.ts'

const refused = (option: string) =>
  expect.objectContaining({
    code: 'ERR_OPTIONS',
    details: { option },
    message: expect.stringContaining(option) as string
  }) as Error

describe('options of a node', () => {
  it('all have a default', () => {
    expect(resolveOptions()).toMatchObject({
      mesh: 'default',
      mdns: true,
      join: [],
      announce: [],
      payloadBytes: 192 * 1024
    })
  })

  it.each([
    [{ colour: 'red' }, 'colour'],
    [{ mesh: '' }, 'mesh'],
    [{ name: 'a/b' }, 'name'],
    [{ listen: [] }, 'listen'],
    [{ mdns: 'yes' }, 'mdns'],
    [{ payloadBytes: 1e9 }, 'payloadBytes'],
    [{ channels: { 'a/#': { retention: { maxAgeMs: -1 } } } }, 'channels.a/#.retention.maxAgeMs'],
    [{ channels: { a: { retention: { onFull: 'wait' } } } }, 'channels.a.retention.onFull'],
    [{ channels: { 'a/#/b': {} } }, 'channels.a/#/b'],
    [{ keep: ['a/#/b'] }, 'keep.0'],
    [{ custodian: 'yes' }, 'custodian'],
    [{ logLevel: 'loud' }, 'logLevel']
  ])('%j is refused by name', (options, option) => {
    expect(() => resolveOptions(options as object)).toThrow(refused(option))
  })

  it('keep a channel as the first filter that matches it says', () => {
    const { retention } = resolveOptions({
      channels: {
        'orders/#': { retention: { maxMessages: 10, untilReceived: true, onFull: 'reject' } },
        'state/#': { retention: { keepLast: 1 } },
        '#': { retention: { maxAgeMs: 1000 } }
      }
    })
    expect(retention('orders')).toMatchObject({
      maxMessages: 10,
      maxAgeMs: 86_400_000,
      untilReceived: true,
      onFull: 'reject'
    })
    expect(retention('state')).toMatchObject({
      keepLast: 1,
      maxAgeMs: Infinity,
      untilReceived: false,
      onFull: 'trim'
    })
    expect(retention('other')).toMatchObject({
      maxAgeMs: 1000,
      maxMessages: Infinity,
      maxBytes: 4 * 1024 ** 3
    })
  })
})

describe('options of a subscription', () => {
  it.each([
    [{ maxInFlight: 0 }, 'maxInFlight'],
    [{ maxInFlight: 5000 }, 'maxInFlight'],
    [{ from: 'yesterday' }, 'from'],
    [{ ack: 'never' }, 'ack'],
    [{ onGap: 'stop' }, 'onGap'],
    [{ group: 3 }, 'group'],
    [{ groups: 'x' }, 'groups']
  ])('%j is refused by name', (options, option) => {
    expect(() => checkSubscribeOptions(options as object)).toThrow(refused(option))
  })
})

describe('options of a publish', () => {
  it.each([
    [{ confirm: 'soon' }, 'confirm'],
    [{ confirm: { replicas: 0 } }, 'confirm.replicas'],
    [{ confirm: { replicas: 65 } }, 'confirm.replicas'],
    [{ confirm: { replicas: 1, timeoutMs: 0 } }, 'confirm.timeoutMs'],
    [{ confirm: { replicas: 1, timeout: 1 } }, 'confirm.timeout'],
    [{ id: '' }, 'id'],
    [{ id: 'ü'.repeat(513) }, 'id']
  ])('%j is refused by name', (options, option) => {
    expect(() => checkPublishOptions(options as object)).toThrow(refused(option))
  })

  it.each([
    [{}],
    [{ confirm: 'stored' }],
    [{ confirm: 'sent', id: 'x' }],
    [{ confirm: { replicas: 2, timeoutMs: 500 }, id: 'ü'.repeat(512) }]
  ] as const)('%j is taken', (options) => {
    expect(() => checkPublishOptions(options)).not.toThrow()
  })
})

describe('options of a send', () => {
  it.each([
    [{ ttlMs: 0 }, 'ttlMs'],
    [{ custodians: -1 }, 'custodians'],
    [{ custodians: 65 }, 'custodians'],
    [{ headers: { a: 1 } }, 'headers.a'],
    [{ key: '' }, 'key'],
    [{ priority: 1 }, 'priority']
  ])('%j is refused by name', (options, option) => {
    expect(() => checkSendOptions(options as object)).toThrow(refused(option))
  })

  it('are taken where they are in range', () => {
    const options = { ttlMs: 1, custodians: 2, key: 'k', headers: { a: 'b' }, contentType: 'a/b' }
    expect(() => checkSendOptions(options)).not.toThrow()
    expect(() => checkSendOptions({})).not.toThrow()
  })
})
