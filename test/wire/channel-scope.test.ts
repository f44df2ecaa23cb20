import { describe, expect, it } from 'vitest'
import { scopeOf } from '../../src/wire/channel-scope.ts'

describe('channel scope', () => {
  it('keeps inboxes out of gossip and dead letters of one sender on its node', () => {
    expect(scopeOf('@12D3KooWExample')).toBe('inbox')
    expect(scopeOf('@')).toBe('inbox')
    expect(scopeOf('$dlq/outbox')).toBe('local')
  })

  it('lets all other channels go everywhere', () => {
    for (const channel of ['orders', '', '$dlq/outbox2', '$dlq/node.outbox', '$receipts', 'a@b']) {
      expect(scopeOf(channel)).toBe('mesh')
    }
  })
})
