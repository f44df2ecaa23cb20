import { describe, expect, it, onTestFinished } from 'vitest'
import { KIB, LIMITS } from '../../src/core/limits.ts'
import { Decoder } from '../../src/delivery/decoder.ts'
import { Feed } from '../../src/delivery/feed.ts'
import { ForeignLog, createLoneEngine } from '../fixtures/lone-engine.ts'

describe('feed: what it keeps in memory', () => {
  it('is bounded with what entries take, not by the bytes of their records alone', async () => {
    const { engine } = await createLoneEngine()
    onTestFinished(() => engine.stop())
    const feed = new Feed(engine.store, new Decoder())
    feed.start()
    onTestFinished(() => feed.stop())
    const log = new ForeignLog('a')
    // Small records, far below the bound by their bytes, above it with a KiB of objects each.
    const count = 2 * (LIMITS.liveTailBytes / KIB)
    const items = Array.from({ length: count }, (_, i) => ({
      record: log.record([`${i}`]),
      ageMs: 0
    }))
    await engine.store.append(items, { sync: false })
    const { first, next } = engine.store.journal('a')
    expect(next - first).toBe(count)
    let kept = 0
    for (let offset = first; offset < next; offset++) {
      if (feed.at('a', offset) !== undefined) kept++
    }
    expect(kept).toBeGreaterThan(1000)
    expect(kept).toBeLessThan(LIMITS.liveTailBytes / KIB)
    // The newest, in one piece.
    expect(feed.at('a', next - kept)).toBeDefined()
    expect(feed.isBehind('a', next - kept)).toBe(false)
    expect(feed.isBehind('a', next - kept - 1)).toBe(true)
  })
})
