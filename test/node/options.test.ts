import { describe, expect, it } from 'vitest'
import { checkSubscribeOptions, resolveOptions } from '../../src/node/options.ts'

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
    [{ channels: { 'a/#/b': {} } }, 'channels.a/#/b'],
    [{ logLevel: 'loud' }, 'logLevel']
  ])('%j is refused by name', (options, option) => {
    expect(() => resolveOptions(options as object)).toThrow(refused(option))
  })

  it('keep a channel as the first filter that matches it says', () => {
    const { retention } = resolveOptions({
      channels: {
        'orders/#': { retention: { maxMessages: 10 } },
        'state/#': { retention: { keepLast: 1 } },
        '#': { retention: { maxAgeMs: 1000 } }
      }
    })
    expect(retention('orders')).toMatchObject({ maxMessages: 10, maxAgeMs: 86_400_000 })
    expect(retention('state')).toMatchObject({ keepLast: 1, maxAgeMs: Infinity })
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
    [{ group: 'x' }, 'group']
  ])('%j is refused by name', (options, option) => {
    expect(() => checkSubscribeOptions(options as object)).toThrow(refused(option))
  })
})
