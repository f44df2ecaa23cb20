import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createVirtualDisk } from '../../../simulations/world/virtual-disk.ts'
import { createVirtualTime } from '../../../simulations/world/virtual-time.ts'
import { placeOf, SortedTable } from '../../../simulations/world/sorted-table.ts'
import { seededRandom } from '../../../src/core/random.ts'
import type { Disk } from '../../store/store-fixtures.ts'
import { storeSuite } from '../../store/store-suite.ts'
import { trimSuite } from '../../store/trim-suite.ts'

function suiteDisk(): Promise<Disk> {
  const disk = createVirtualDisk({ random: seededRandom(1) })
  return Promise.resolve({
    components: () => Promise.resolve(disk),
    remove: () => Promise.resolve()
  })
}

storeSuite('store on a virtual disk', suiteDisk)
trimSuite('retention on a virtual disk', suiteDisk)

const key = (text: string): Buffer => Buffer.from(text)

describe('simulations: table', () => {
  it('does what a sorted map does, and views see what was there when they were opened', () => {
    const name = fc.integer({ min: 0, max: 999 }).map((n) => String(n).padStart(3, '0'))
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.record({ do: fc.constant('set'), key: name }) },
      { weight: 2, arbitrary: fc.record({ do: fc.constant('delete'), key: name }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('view', 'close'), key: name }) }
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 2000, size: 'max' }), (steps) => {
        const table = new SortedTable()
        const model = new Map<string, Buffer>()
        const views: { view: ReturnType<SortedTable['view']>; was: string[] }[] = []
        const replaced: (Buffer | undefined)[][] = []
        const sorted = (): string[] => [...model].map(([k, v]) => `${k}=${v.toString()}`).toSorted()
        const seen = ({ leaves }: { leaves: readonly { keys: string[]; values: Buffer[] }[] }) =>
          leaves.flatMap(({ keys, values }) => keys.map((k, i) => `${k}=${values[i]?.toString()}`))
        for (const [i, { do: what, key: k }] of steps.entries()) {
          if (what === 'view') views.push({ view: table.view(), was: sorted() })
          const closed = what === 'close' ? views.splice(0, 1) : []
          for (const { view, was } of closed) {
            expect(seen(view)).toEqual(was)
            table.close(view)
          }
          const before = model.get(k)
          if (what === 'set') {
            model.set(k, key(`${i}`))
            replaced.push([table.set(k, key(`${i}`)), before])
          } else if (what === 'delete') {
            model.delete(k)
            replaced.push([table.delete(k), before])
          }
        }
        for (const [was, expected] of replaced) expect(was).toEqual(expected)
        for (const { view, was } of views) expect(seen(view)).toEqual(was)
        const last = table.view()
        expect(seen(last)).toEqual(sorted())
        expect(table.size).toBe(model.size)
        const at = placeOf(last, '500')
        const next = [...model.keys()].toSorted().find((k) => k >= '500')
        expect(last.leaves[at.leaf]?.keys[at.entry]).toBe(next)
        expect([...table.keys('2', '5')]).toEqual(
          [...model.keys()].filter((k) => k >= '2' && k < '5').toSorted()
        )
      }),
      { numRuns: 30 }
    )
  })
})

describe('simulations: disk', () => {
  const put = (text: string) => ({ type: 'put' as const, key: key(text), value: key(`v${text}`) })

  it('loses what was not synced, keeps it, or tears it, as it is told', async () => {
    const left = async (how: 'keep' | 'lose' | 'torn', seed: number): Promise<string> => {
      const disk = createVirtualDisk({ random: seededRandom(seed) })
      const level = await disk.openLevel()
      await level.batch([put('a'), put('b')], { sync: true } as object)
      for (const text of ['c', 'd', 'e']) await level.batch([put(text)], { sync: false } as object)
      await level.batch([{ type: 'del', key: key('a') }])
      disk.crash(how)
      const again = await disk.openLevel()
      return (await again.keys().all()).map(String).join('')
    }
    expect(await left('keep', 1)).toBe('bcde')
    expect(await left('lose', 1)).toBe('ab')
    const torn = new Set<string>()
    for (let seed = 0; seed < 40; seed++) torn.add(await left('torn', seed))
    expect([...torn].toSorted()).toEqual(['ab', 'abc', 'abcd', 'abcde', 'bcde'])
  })

  it('takes its time by the clock of the life, and nothing comes back to a life that is over', async () => {
    const time = createVirtualTime()
    const disk = createVirtualDisk({ random: seededRandom(1) })
    const clock = time.clock()
    disk.attach(clock)
    disk.setLatency(20)
    const level = await disk.openLevel()
    const done: string[] = []
    void level.batch([put('a')]).then(() => done.push('a'))
    await time.run(19)
    expect(done).toEqual([])
    await time.run(20)
    expect(done).toEqual(['a'])
    void level.batch([put('b')], { sync: true } as object).then(() => done.push('b'))
    await time.run(30)
    clock.kill()
    disk.crash('lose')
    await time.run(100)
    expect(done).toEqual(['a'])
    disk.setLatency(0)
    expect(await (await disk.openLevel()).keys().all()).toEqual([])
  })

  it('is full, fails and is small', async () => {
    const disk = createVirtualDisk({ random: seededRandom(1) }, { sizeBytes: 100 })
    const level = await disk.openLevel()
    const code = { code: 'LEVEL_IO_ERROR' }
    await level.put(key('a'), Buffer.alloc(80))
    expect(await disk.freeSpace?.()).toEqual({ freeBytes: 19, totalBytes: 100 })
    await expect(level.put(key('b'), Buffer.alloc(80))).rejects.toMatchObject(code)
    expect(await disk.probeSpace?.(80)).toBe('ENOSPC')
    await level.del(key('a'))
    disk.setFull(true)
    await expect(level.put(key('b'), Buffer.alloc(1))).rejects.toMatchObject(code)
    expect(await disk.freeSpace?.()).toMatchObject({ freeBytes: 0 })
    disk.setFull(false)
    disk.setFailing(true)
    await expect(level.put(key('b'), Buffer.alloc(1))).rejects.toMatchObject(code)
    disk.setFailing(false)
    await level.put(key('b'), Buffer.alloc(80))
  })

  it('flips bits in records, and only there', async () => {
    const disk = createVirtualDisk({ random: seededRandom(1) })
    const level = await disk.openLevel()
    const value = Buffer.alloc(100)
    await level.put(Buffer.of(2, 1), value)
    await level.put(Buffer.of(3, 1), value)
    disk.corrupt(1)
    const ones = (bytes: Buffer | undefined): number =>
      [...(bytes ?? [])].reduce((sum, byte) => sum + byte.toString(2).replaceAll('0', '').length, 0)
    expect(ones(await level.get(Buffer.of(2, 1)))).toBe(1)
    expect(ones(await level.get(Buffer.of(3, 1)))).toBe(0)
    expect(ones(value)).toBe(0)
  })
})
