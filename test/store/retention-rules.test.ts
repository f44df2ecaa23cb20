import { describe, expect, it } from 'vitest'
import type { LogRef } from '../../src/store/contract.ts'
import { FaultyDisk } from './faulty-level.ts'
import { append, Author, boundsOf, openStore, stillClock } from './store-fixtures.ts'

const HOUR = 3_600_000
const POLICY = {
  maxAgeMs: Infinity,
  maxBytes: Infinity,
  maxMessages: Infinity,
  keepLast: undefined,
  untilReceived: false,
  onFull: 'trim'
} as const

describe('retention of a channel', () => {
  it('append: what is too old is refused from the beginning, but for last values', async () => {
    const keeps = { orders: undefined, state: 1 }
    const store = await openStore(
      new FaultyDisk(),
      {},
      {
        reserveBytes: 0,
        retention: (channel) => ({
          ...POLICY,
          maxAgeMs: HOUR,
          keepLast: keeps[channel as keyof typeof keeps]
        })
      }
    )
    const old = { ageMs: HOUR + 1 }
    expect(await append(store, [new Author().write()], old)).toEqual(['expired'])
    expect(await append(store, [new Author({ channel: 'state' }).write()], old)).toEqual([
      'appended'
    ])
    await store.stop()
  })

  it('trim: what everyone has received goes, from the front, and no more', async () => {
    const store = await openStore(new FaultyDisk())
    const [one, two] = [new Author(), new Author({ seed: 2 })]
    for (let turn = 0; turn < 4; turn++) await append(store, [one.write(2), two.write(1)])
    const { first } = store.journal('orders')
    const trim = async (ones: number, twos: number, offset: number): Promise<number> => {
      const sequence = ({ publisher }: LogRef): number =>
        publisher === one.ref.publisher ? ones : twos
      await store.trim(
        'orders',
        { ...POLICY, untilReceived: true },
        { sequence, offset: first + offset }
      )
      return boundsOf(store).first
    }
    expect(await trim(8, 4, 0)).toBe(0)
    expect(await trim(8, 0, 12)).toBe(2)
    expect(await trim(8, 4, 5)).toBe(5)
    expect(await trim(5, 4, 12)).toBe(6)
    await store.trim('orders', { ...POLICY, untilReceived: true })
    expect(boundsOf(store).first).toBe(6)
    await store.trim('orders', POLICY, { sequence: () => 99, offset: first + 99 })
    expect(boundsOf(store).first).toBe(6)
    expect(await trim(8, 4, 12)).toBe(12)
    expect(store.log(one.ref)).toMatchObject({ floor: 9, head: 8, records: 0, bytes: 0 })
    await store.stop()
  })

  it('trim: a channel that refuses when it is full loses nothing but what is too old', async () => {
    const clock = stillClock(1000 * HOUR)
    const store = await openStore(new FaultyDisk(), { clock })
    const author = new Author()
    await append(store, author.many(3))
    clock.move(2 * HOUR)
    await append(store, author.many(3))
    const full = { ...POLICY, maxMessages: 1, maxBytes: 1, onFull: 'reject' } as const
    await store.trim('orders', full)
    expect(boundsOf(store)).toEqual({ first: 0, next: 6 })
    expect(store.channelUsage('orders').messages).toBe(6)
    await store.trim('orders', { ...full, maxAgeMs: HOUR })
    expect(boundsOf(store)).toEqual({ first: 3, next: 6 })
    await store.stop()
  })
})
