import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LIMITS } from '../../src/core/limits.ts'
import {
  isChannel,
  isReserved,
  isSuffix,
  joinTopic,
  parseFilter,
  parseTopic,
  resolveSelf,
  topicMatches
} from '../../src/wire/topic.ts'
import { TopicTrie } from '../../src/wire/topic-trie.ts'
import { filter, topic } from './arbitraries.ts'

describe('topic', () => {
  it.each([
    ['orders', 'orders', ''],
    ['orders/', 'orders', '/'],
    ['orders/created', 'orders', '/created'],
    ['orders//x', 'orders', '//x'],
    ['/orders', '', '/orders'],
    ['/', '', '/'],
    ['@12D3/inbox', '@12D3', '/inbox'],
    ['$group/workers', '$group/workers', ''],
    ['$group/workers/acks', '$group/workers', '/acks'],
    ['$dlq/node.name/orders/x', '$dlq/node.name', '/orders/x'],
    ['$other/name', '$other', '/name'],
    ['x'.repeat(LIMITS.topicBytes), 'x'.repeat(LIMITS.topicBytes), ''],
    ['/'.repeat(LIMITS.topicLevels - 1), '', '/'.repeat(LIMITS.topicLevels - 1)],
    ['straße/ü', 'straße', '/ü'],
    ['a b/😀', 'a b', '/😀']
  ])('topic: %s is in channel %s with suffix %s', (text, channel, suffix) => {
    const parsed = parseTopic(text)
    expect(parsed).toMatchObject({ topic: text, channel, suffix })
    expect(Buffer.from(parsed.suffixBytes).toString()).toBe(suffix)
    expect(joinTopic(channel, suffix)).toBe(text)
    expect(isChannel(channel)).toBe(true)
    expect(isSuffix(suffix)).toBe(true)
    expect(parseTopic(text)).toBe(parsed)
  })

  it.each([
    ['', 'is empty'],
    ['orders/+', "wildcard '+'"],
    ['a#', "wildcard '#'"],
    ['a/\0', 'NUL'],
    ['a/\ud800', 'surrogate'],
    ['\udc00a', 'surrogate'],
    ['x'.repeat(LIMITS.topicBytes + 1), 'bytes'],
    ['ü'.repeat(LIMITS.topicBytes / 2 + 1), 'bytes'],
    ['/'.repeat(LIMITS.topicLevels), 'levels'],
    ['$group', 'needs a name'],
    ['$group/', 'needs a name'],
    ['$dlq//x', 'needs a name']
  ])('topic: %j is refused: %s', (text, why) => {
    expect(() => parseTopic(text)).toThrow(
      expect.objectContaining({
        code: 'ERR_TOPIC',
        message: expect.stringContaining(why) as string
      })
    )
  })

  it('topic: the error says where', () => {
    expect(() => parseTopic('orders/a+b')).toThrow(/\(character 9\)/)
    expect(() => parseFilter('orders/a+b')).toThrow(/\(character 9\)/)
    expect(() => parseFilter('a/#/b')).toThrow(/\(character 3\)/)
  })

  it('topic: a and a/ are two topics', () => {
    expect(parseTopic('a').suffix).not.toBe(parseTopic('a/').suffix)
    expect(topicMatches('a', 'a/')).toBe(false)
    expect(topicMatches('a/+', 'a/')).toBe(true)
    expect(topicMatches('a/+', 'a')).toBe(false)
  })

  it('topic: $ is reserved, @ is not', () => {
    expect([isReserved('$dlq/x'), isReserved('@me/x'), isReserved('a$')]).toEqual([
      true,
      false,
      false
    ])
  })

  it('topic: every topic is its channel and its suffix', () => {
    fc.assert(
      fc.property(topic, (text) => {
        const { channel, suffix } = parseTopic(text)
        expect(joinTopic(channel, suffix)).toBe(text)
        expect([isChannel(channel), isSuffix(suffix)]).toEqual([true, true])
      })
    )
  })
})

describe('filter', () => {
  it.each([
    ['orders/+/eu', 'orders'],
    ['orders/#', 'orders'],
    ['orders', 'orders'],
    ['$group/w/#', '$group/w'],
    ['$dlq/w', '$dlq/w'],
    ['@me/#', '@me'],
    ['/+', ''],
    ['+/x', undefined],
    ['#', undefined],
    ['$dlq/+/orders', undefined],
    ['$group/#', undefined]
  ])('filter: the channel of %s is %s', (text, channel) => {
    expect(parseFilter(text).channel).toBe(channel)
  })

  it.each([
    '',
    'a/b+',
    '+a',
    'a/#/b',
    'a#',
    '##',
    '++',
    '$group',
    '$dlq/',
    'a/\0',
    '\ud800',
    'x'.repeat(LIMITS.topicBytes + 1),
    '/'.repeat(LIMITS.topicLevels)
  ])('filter: %j is refused', (text) => {
    expect(() => parseFilter(text)).toThrow(expect.objectContaining({ code: 'ERR_FILTER' }))
  })

  it.each([
    ['#', 'a', true],
    ['#', '/', true],
    ['#', '$x', false],
    ['#', '@x', false],
    ['+', 'a', true],
    ['+', 'a/b', false],
    ['+/+', '/', true],
    ['+/b', '$a/b', false],
    ['a/#', 'a', true],
    ['a/#', 'a/', true],
    ['a/#', 'a/b/c', true],
    ['a/#', 'ab', false],
    ['a/+/c', 'a/b/c', true],
    ['a/+/c', 'a//c', true],
    ['a/+', 'a/b/c', false],
    ['$x/#', '$x/y', true],
    ['$x/+', '$x/$y', true],
    ['+/#', 'a', true],
    ['a/+/#', 'a', false],
    ['A', 'a', false]
  ])('filter: %s against %s: %s', (text, name, matches) => {
    expect(topicMatches(text, name)).toBe(matches)
    expect(topicMatches(parseFilter(text), name)).toBe(matches)
  })

  it('filter: whatever matches is in a channel that the filter knows of', () => {
    fc.assert(
      fc.property(filter, topic, (text, name) => {
        const parsed = parseFilter(text)
        const { channel } = parseTopic(name)
        fc.pre(topicMatches(text, name))
        expect(parsed.matchesChannel(channel)).toBe(true)
        expect(parsed.channel ?? channel).toBe(channel)
      }),
      { numRuns: 300 }
    )
  })

  it('filter: channels that cannot match are told apart', () => {
    expect(parseFilter('a/b').matchesChannel('b')).toBe(false)
    expect(parseFilter('+/b').matchesChannel('$x')).toBe(false)
    expect(parseFilter('$dlq/+/x').matchesChannel('$dlq/n')).toBe(true)
    expect(parseFilter('$dlq/+/x').matchesChannel('$group/n')).toBe(false)
  })
})

describe('topic trie', () => {
  const step = fc.record({ add: fc.boolean(), filter, value: fc.integer({ min: 0, max: 3 }) })

  it('topic trie: agrees with the plain matcher through any adding and deleting', () => {
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 40 }),
        fc.array(topic, { minLength: 1, maxLength: 6 }),
        (steps, names) => {
          const trie = new TopicTrie<number>()
          const model = new Map<string, Set<number>>()
          for (const { add, filter: text, value } of steps) {
            const values = model.get(text) ?? new Set()
            model.set(text, values)
            expect(add ? trie.add(text, value) : trie.delete(text, value)).toBe(
              add ? !values.has(value) : values.has(value)
            )
            if (add) values.add(value)
            else values.delete(value)
            for (const name of names) {
              const expected = [...model].flatMap(([one, all]) =>
                topicMatches(one, name) ? [...all] : []
              )
              expect(new Set(trie.match(name))).toEqual(new Set(expected))
              expect(trie.match(name)).toHaveLength(new Set(expected).size)
            }
          }
          expect(trie.size).toBe([...model.values()].reduce((sum, all) => sum + all.size, 0))
        }
      )
    )
  })

  it('topic trie: a value under two filters is found once', () => {
    const trie = new TopicTrie<string>()
    trie.add('a/#', 'v')
    trie.add('a/+', 'v')
    expect(trie.match('a/b')).toEqual(['v'])
    trie.delete('a/+', 'v')
    expect(trie.match('a/b')).toEqual(['v'])
  })

  it('topic trie: refuses what is not a filter', () => {
    const trie = new TopicTrie<string>()
    expect(() => trie.add('a/#/b', 'v')).toThrow(expect.objectContaining({ code: 'ERR_FILTER' }))
    expect(trie.size).toBe(0)
  })

  it('topic trie: levels named like object members are ordinary', () => {
    const trie = new TopicTrie<string>()
    expect(trie.match('__proto__/constructor')).toEqual([])
    trie.add('__proto__/constructor', 'v')
    expect(trie.match('__proto__/constructor')).toEqual(['v'])
  })
})

describe('topic: this node in place of @me', () => {
  it.each([
    ['@me', '@12D3'],
    ['@me/#', '@12D3/#'],
    ['@me/alerts/+', '@12D3/alerts/+'],
    ['@me/', '@12D3/'],
    ['@menu', '@menu'],
    ['@other/@me', '@other/@me'],
    ['me/x', 'me/x'],
    ['#', '#']
  ])('%s is %s', (text, resolved) => {
    expect(resolveSelf(text, '12D3')).toBe(resolved)
  })
})
