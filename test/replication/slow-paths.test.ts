import { describe, expect, it } from 'vitest'
import { Emitter } from '../../src/core/events.ts'
import { silentLogger } from '../../src/core/logger.ts'
import { LIMITS } from '../../src/core/limits.ts'
import type { TransportEvents } from '../../src/mesh/contract.ts'
import { createMemoryNetwork } from '../../src/mesh/memory-network.ts'
import { DiskWatch, SlowPaths, type SlowPathEvents } from '../../src/replication/slow-paths.ts'
import { ManualClock, settled } from '../fixtures/manual-clock.ts'

const raise = (error: unknown): void => {
  throw error
}

function watched() {
  const clock = new ManualClock()
  const disk = new DiskWatch({ clock })
  const transport = { events: new Emitter<TransportEvents>(raise) }
  const paths = new SlowPaths(
    { clock, disk, transport, logger: silentLogger },
    new Emitter<SlowPathEvents>(raise)
  )
  const told: unknown[] = []
  for (const name of ['slow:disk', 'slow:neighbour', 'clock:jump'] as const) {
    paths.events.on(name, (detail) => told.push([name, detail]))
  }
  paths.start()
  return { clock, disk, transport, paths, told }
}

describe('slow paths', () => {
  it('tells of a wall clock that jumped, either way, once', async () => {
    const { clock, paths, told } = watched()
    await clock.advance(5_000)
    expect(told).toEqual([])
    clock.jump(3_600_000)
    await clock.advance(3_000)
    clock.jump(-60_000)
    await clock.advance(3_000)
    clock.jump(500)
    await clock.advance(3_000)
    expect(told).toEqual([
      ['clock:jump', { ms: 3_600_000 }],
      ['clock:jump', { ms: -60_000 }]
    ])
    expect(paths.stats.clockJumps).toBe(2)
  })

  it('tells of a slow write, at most once a minute, and counts the others', async () => {
    const { clock, disk, paths, told } = watched()
    const quick = disk.writing()
    await clock.advance(900)
    disk.wrote(quick)
    await clock.advance(2_000)
    expect(told).toEqual([])
    for (let n = 0; n < 3; n++) {
      const since = disk.writing()
      await clock.advance(1_500)
      disk.wrote(since)
      await clock.advance(10_000)
    }
    expect(told).toHaveLength(1)
    expect(paths.stats.disk).toBeGreaterThanOrEqual(3)
    await clock.advance(60_000)
    const since = disk.writing()
    await clock.advance(1_500)
    disk.wrote(since)
    await clock.advance(1_000)
    expect(told).toHaveLength(2)
  })

  it('tells of a write that does not end', async () => {
    const { clock, disk, told } = watched()
    disk.writing()
    await clock.advance(3_000)
    expect(told).toEqual([['slow:disk', { ms: expect.any(Number) }]])
  })

  it('does not take many quick writes behind each other for a slow one', async () => {
    const { clock, disk, told } = watched()
    let since = disk.writing()
    for (let n = 0; n < 100; n++) {
      const next = disk.writing()
      await clock.advance(100)
      disk.wrote(since)
      since = next
    }
    expect(told).toEqual([])
  })

  it('tells of a neighbour that is left behind', async () => {
    const { paths, told, transport } = watched()
    transport.events.emit('link:behind', { peer: 'p', bufferedBytes: 5 })
    expect(told).toEqual([['slow:neighbour', { peer: 'p', bufferedBytes: 5 }]])
    expect(paths.stats.neighbours).toBe(1)
    paths.stop()
    transport.events.emit('link:behind', { peer: 'p', bufferedBytes: 5 })
    expect(paths.stats.neighbours).toBe(1)
  })

  it('hears it from a transport whose neighbour reads nothing', async () => {
    const clock = new ManualClock()
    const network = createMemoryNetwork({ clock })
    const [a, b] = [1, 2].map((n) => network.transport({ privateKey: new Uint8Array(32).fill(n) }))
    if (a === undefined || b === undefined) throw new Error('no transports')
    const behind: unknown[] = []
    a.events.on('link:behind', (event) => behind.push(event))
    await a.start()
    await b.start()
    a.join('c')
    b.join('c')
    await settled()
    network.freeze(b.self.id)
    const bytes = new Uint8Array(LIMITS.pushBytes)
    for (let n = 0; a.room('c') === undefined && n < 100; n++) {
      bytes[0] = n
      a.broadcast('c', { bytes: bytes.slice(), headLength: 64 })
      await settled(2)
    }
    expect(a.room('c')).toBeDefined()
    await clock.advance(30_000)
    expect(behind).toEqual([{ peer: b.self.id, bufferedBytes: expect.any(Number) }])
    expect(a.room('c')).toBeUndefined()
    await b.stop()
    await a.stop()
  })
})
