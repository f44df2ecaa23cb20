import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { topicMatcher } from '../../src/node/topic-filter.ts'
import { topicMatches } from '../../src/wire/topic.ts'

describe('topic filter', () => {
  it('matches many topics as it matches one', () => {
    const level = fc.constantFrom('', 'a', 'ab', '$x', '@y')
    const topic = fc.array(level, { minLength: 1, maxLength: 4 }).map((levels) => levels.join('/'))
    const filter = fc
      .tuple(
        fc.array(fc.oneof(level, fc.constant('+')), { minLength: 1, maxLength: 4 }),
        fc.boolean()
      )
      .map(([levels, isOpen]) => [...levels, ...(isOpen ? ['#'] : [])].join('/'))
    fc.assert(
      fc.property(filter, topic, (pattern, text) => {
        fc.pre(pattern !== '')
        expect(topicMatcher(pattern)(text)).toBe(topicMatches(pattern, text))
      })
    )
  })
})
