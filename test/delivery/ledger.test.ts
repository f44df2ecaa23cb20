import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type InFlight, Ledger } from '../../src/delivery/ledger.ts'
import type { CursorState } from '../../src/store/contract.ts'

/** A disk for one cursor, whose writes are done when `flush` says so. */
class Disk {
  state: CursorState = { offset: 0, acknowledged: [], handed: 0, attempts: [] }
  readonly #writes: { state: CursorState; done: () => void; fail: (why: Error) => void }[] = []

  saveCursor(_name: string, _channel: string, state: CursorState): Promise<void> {
    return new Promise((done, fail) => this.#writes.push({ state, done, fail }))
  }

  /** A crash: what was not written yet never is. */
  drop(): void {
    this.#writes.length = 0
  }

  /** The disk is full: what is being written fails. */
  fail(): void {
    for (const { fail } of this.#writes.splice(0)) fail(new Error('full'))
  }

  async flush(): Promise<void> {
    do {
      for (const { state, done } of this.#writes.splice(0)) {
        this.state = structuredClone(state)
        done()
      }
      await settle()
    } while (this.#writes.length > 0)
  }
}

const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** One life of a consumer: reads offsets in order, as the lane does. */
class Life {
  readonly ledger: Ledger<number>
  readTo: number
  readonly handed: { offset: number; attempt: number }[] = []

  constructor(disk: Disk, init: { maxDeliveries?: number } = {}) {
    const window = 4
    this.readTo = disk.state.offset
    this.ledger = new Ledger<number>(disk, {
      name: 's',
      channel: 'c',
      cursor: disk.state,
      window,
      maxDeliveries: init.maxDeliveries ?? Infinity,
      readTo: () => this.readTo,
      onSaved: () => {},
      onError: (error) => {
        throw error
      }
    })
  }

  /** Reads the next offset; false where it has to wait. */
  read(): boolean {
    const offset = this.readTo
    const permit = this.ledger.permit(offset)
    if (permit.kind === 'wait') return false
    this.readTo++
    if (permit.kind === 'done') return true
    if (permit.kind === 'dead') {
      this.ledger.hold(offset, offset, permit.attempts)
      return true
    }
    const { entry, ready } = this.ledger.add(offset, offset, permit.attempt)
    if (ready) this.#hand(entry)
    return true
  }

  /** Hands over what waited for its attempt to be written. */
  handSaved(): void {
    for (const entry of this.ledger.entries()) {
      const known = this.handed.some(
        (hand) => hand.offset === entry.offset && hand.attempt === entry.attempt
      )
      if (entry.saved && !known) this.#hand(entry)
    }
  }

  #hand(entry: InFlight<number>): void {
    entry.deadline = Infinity
    this.handed.push({ offset: entry.offset, attempt: entry.attempt })
  }
}

describe('ledger: hand-over and acknowledgement', () => {
  it('hands nothing over before the reservation is on disk', async () => {
    const disk = new Disk()
    const life = new Life(disk)
    expect(life.read()).toBe(false)
    expect(life.handed).toEqual([])
    await disk.flush()
    expect(life.read()).toBe(true)
    expect(disk.state.handed).toBeGreaterThan(0)
  })

  it('moves the cursor to the lowest message that is not acknowledged', async () => {
    const disk = new Disk()
    const life = new Life(disk)
    life.read()
    await disk.flush()
    for (let i = 0; i < 4; i++) life.read()
    const acks = [life.ledger.acknowledge(0), life.ledger.acknowledge(2)]
    await settle()
    await disk.flush()
    await Promise.all(acks)
    expect(disk.state.offset).toBe(1)
    expect(disk.state.acknowledged).toEqual([{ from: 2, to: 2 }])
  })

  it('offers what may have been handed over one at a time after a crash, and counts it', async () => {
    const disk = new Disk()
    const first = new Life(disk)
    first.read()
    await disk.flush()
    first.read()
    first.read()
    const second = new Life(disk)
    expect(second.read()).toBe(true)
    expect(second.handed).toEqual([])
    expect(second.read()).toBe(false)
    await disk.flush()
    second.handSaved()
    expect(second.handed).toEqual([{ offset: 0, attempt: 2 }])
    expect(second.read()).toBe(false)
    const acked = second.ledger.acknowledge(0)
    await settle()
    await disk.flush()
    await acked
    expect(second.read()).toBe(true)
  })

  it('counts each crash of one message, and none of its neighbours that were not offered', async () => {
    const disk = new Disk()
    const life = new Life(disk)
    life.read()
    await disk.flush()
    for (let i = 0; i < 3; i++) life.read()
    for (let crash = 0; crash < 5; crash++) {
      const next = new Life(disk)
      next.read()
      await disk.flush()
      next.handSaved()
      expect(next.handed).toEqual([{ offset: 0, attempt: crash + 2 }])
    }
    const last = new Life(disk)
    last.read()
    await disk.flush()
    const acked = last.ledger.acknowledge(0)
    await settle()
    await disk.flush()
    await acked
    last.read()
    await disk.flush()
    last.handSaved()
    expect(last.handed.at(-1)).toEqual({ offset: 1, attempt: 2 })
  })

  it('leaves no doubt behind when it is closed: nothing is offered alone afterwards', async () => {
    const disk = new Disk()
    const life = new Life(disk)
    life.read()
    await disk.flush()
    for (let i = 0; i < 3; i++) life.read()
    const closed = life.ledger.close()
    await settle()
    await disk.flush()
    await closed
    const next = new Life(disk)
    next.read()
    await disk.flush()
    while (next.readTo < 5) next.read()
    await disk.flush()
    next.handSaved()
    expect(
      next.handed.filter(({ offset }) => offset < 3).every(({ attempt }) => attempt === 2)
    ).toBe(true)
    expect(
      next.handed.filter(({ offset }) => offset >= 3).every(({ attempt }) => attempt === 1)
    ).toBe(true)
  })

  it('hands nothing over for the last time beside others that an earlier life gave back', async () => {
    const disk = new Disk()
    disk.state = {
      offset: 0,
      acknowledged: [],
      handed: 0,
      attempts: [
        [0, 1],
        [1, 2],
        [2, 3],
        [3, 5]
      ]
    }
    const life = new Life(disk, { maxDeliveries: 3 })
    const kinds = [0, 1, 2, 3].map((offset) => life.ledger.permit(offset).kind)
    expect(kinds).toEqual(['wait', 'go', 'dead', 'dead'])
    life.readTo = 1
    life.read()
    expect(life.ledger.permit(4).kind).toBe('wait')
  })

  it('an attempt that could not be written is handed over when a later write succeeds', async () => {
    const disk = new Disk()
    const life = new Life(disk)
    life.read()
    await disk.flush()
    life.read()
    const [entry] = life.ledger.entries()
    if (entry === undefined) throw new Error('not in flight')
    const given = life.ledger.retry(entry, 0)
    await settle()
    disk.fail()
    await expect(given).rejects.toThrow('full')
    expect(entry.saved).toBe(false)
    life.ledger.touch()
    await settle()
    await disk.flush()
    expect(entry.saved).toBe(true)
    expect(disk.state.attempts).toEqual([[0, 2]])
  })

  it('does not count what waited for its next attempt as handed over when it is closed', async () => {
    const disk = new Disk()
    const life = new Life(disk, { maxDeliveries: 3 })
    life.read()
    await disk.flush()
    for (let i = 0; i < 3; i++) life.read()
    const [retried, exhausted] = [life.ledger.get(0), life.ledger.get(1)]
    if (retried === undefined || exhausted === undefined) throw new Error('not in flight')
    void life.ledger.retry(retried, 1000)
    exhausted.attempt = 3
    life.ledger.exhaust(exhausted)
    const closed = life.ledger.close()
    await settle()
    await disk.flush()
    await closed
    expect(disk.state.attempts).toEqual([
      [0, 1],
      [1, 3],
      [2, 1]
    ])
  })

  it('law: over any crashes every message is handled, and only unacknowledged ones are repeated', async () => {
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.constant('read' as const) },
      { weight: 3, arbitrary: fc.nat(8) },
      { weight: 2, arbitrary: fc.constant('flush' as const) },
      { weight: 1, arbitrary: fc.constant('crash' as const) }
    )
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 120 }), async (steps) => {
        const disk = new Disk()
        let life = new Life(disk)
        const durable = new Set<number>()
        const handedEver = new Set<number>()
        const acknowledge = async (offset: number): Promise<void> => {
          await life.ledger.acknowledge(offset)
          durable.add(offset)
        }
        for (const next of steps) {
          if (next === 'read') life.read()
          else if (next === 'flush') await disk.flush()
          else if (next === 'crash') {
            await settle()
            disk.drop()
            life = new Life(disk)
          } else {
            const hand = life.handed[next]
            if (hand !== undefined) void acknowledge(hand.offset)
          }
          life.handSaved()
          for (const { offset } of life.handed) handedEver.add(offset)
          expect(
            life.handed.filter(
              ({ offset }) => durable.has(offset) && life.ledger.get(offset) !== undefined
            )
          ).toEqual([])
        }
        // A last life with nothing in its way handles the rest, in order.
        await disk.flush()
        const last = new Life(disk)
        for (let turn = 0; last.readTo < 40 && turn < 500; turn++) {
          last.read()
          await disk.flush()
          last.handSaved()
          for (const entry of last.ledger.entries())
            if (entry.saved) void acknowledgeLast(last, entry.offset)
          await disk.flush()
        }
        const offsets = last.handed.map(({ offset }) => offset)
        for (const offset of offsets) expect(durable.has(offset)).toBe(false)
        for (let offset = 0; offset < 40; offset++) {
          expect(durable.has(offset) || offsets.includes(offset)).toBe(true)
        }
        expect(offsets).toEqual(offsets.toSorted((a, b) => a - b))
      }),
      { numRuns: 100 }
    )
  })
})

async function acknowledgeLast(life: Life, offset: number): Promise<void> {
  await life.ledger.acknowledge(offset)
}
