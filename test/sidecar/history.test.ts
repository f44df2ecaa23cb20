import { describe, expect, it, vi } from 'vitest'
import { run } from '../cli/command.ts'
import { served } from './served-node.ts'

// The command is a process.
vi.setConfig({ testTimeout: 60_000 })

interface Page {
  readonly messages: readonly { subject: string; data: unknown; skeinattempt: number }[]
  readonly next?: string
}

describe('sidecar history', () => {
  it('history: answers in pages, until there is no more', async () => {
    const { call, node } = await served()
    for (let n = 0; n < 5; n++) await node.publish(`c${n % 2}/x`, { n })
    const pages: number[][] = []
    for (let after: string | undefined = ''; after !== undefined;) {
      const query: string = after === '' ? '' : `&after=${after}`
      const answer = await call(`/v1/history?filter=%23&limit=2${query}`)
      expect(answer.status).toBe(200)
      const { messages, next } = (await answer.json()) as Page
      pages.push(messages.map(({ data }) => (data as { n: number }).n))
      expect(messages.every(({ skeinattempt }) => skeinattempt === 0)).toBe(true)
      after = next
    }
    expect(pages).toEqual([[0, 1], [2, 3], [4]])
  })

  it('history: ends a page of large messages early', async () => {
    const { call, node } = await served()
    const large = 'x'.repeat(150 * 1024)
    for (let n = 0; n < 8; n++) await node.publish('a', large)
    const { messages, next } = (await (await call('/v1/history?filter=a')).json()) as Page
    expect(messages.length).toBeGreaterThan(2)
    expect(messages.length).toBeLessThan(8)
    expect(next).toBeDefined()
  })

  it.each([
    ['', 'filter', 'ERR_OPTIONS'],
    ['?filter=a&since=soon', 'since', 'ERR_OPTIONS'],
    ['?filter=a&limit=0', 'limit', 'ERR_OPTIONS'],
    ['?filter=a&order=time', 'order', 'ERR_OPTIONS'],
    ['?filter=a%23', undefined, 'ERR_FILTER'],
    ['?filter=a&after=x', undefined, 'ERR_CURSOR_UNKNOWN']
  ])('history: %s is refused', async (query, option, code) => {
    const { call } = await served()
    const problem = (await (await call(`/v1/history${query}`)).json()) as {
      code: string
      details: Record<string, unknown>
    }
    expect([problem.code, problem.details['option']]).toEqual([code, option])
  })

  it('history: the library names a wrong option', async () => {
    const { node } = await served()
    for (const [options, option] of [
      [{ since: new Date('x') }, 'since'],
      [{ limit: 0 }, 'limit'],
      [{ order: 'topic' as 'time' }, 'order']
    ] as const) {
      expect(() => node.history('a', options)).toThrow(
        expect.objectContaining({ code: 'ERR_OPTIONS', details: { option } }) as Error
      )
    }
  })

  it('history: skein history prints it, of a span of time', async () => {
    const { at, node } = await served()
    await node.publish('a/1', 'one')
    const { time } = await node.publish('a/2', 'two')
    await node.publish('a/3', 'three')
    const options = ['--json', '--since', '1h', '--limit', '2']
    const first = await run(['history', 'a/#', ...options, ...at])
    expect(first.code).toBe(0)
    const lines = first.text.trim().split('\n')
    expect(lines.map((line) => JSON.parse(line) as object)).toMatchObject([
      { topic: 'a/1', payload: 'one', attempt: 0 },
      { topic: 'a/2', payload: 'two' }
    ])
    const until = new Date(time.getTime() + 60_000).toISOString()
    const all = await run(['history', 'a/#', '--until', until, ...at])
    expect(all.text).toMatch(/^\S+ a\/1 one\n\S+ a\/2 two\n\S+ a\/3 three\n$/)
    expect((await run(['history', 'a/#', '--since', 'soon', ...at])).code).toBe(2)
  })
})
