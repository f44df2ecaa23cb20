import type { LogRef, LogState, SequenceRange, Store } from '../../src/store/contract.ts'
import { emptyHeld, heldRanges, holds, insertRange } from '../../src/wire/vector.ts'

/* eslint-disable */
export function standIn(store: Store): Store {
  if (typeof (store as any).raiseFloor === 'function') return store
  const floors = new Map<string, number>()
  const voids = new Map<string, SequenceRange[]>()
  const key = (log: LogRef) => `${log.publisher}/${log.session}/${log.channel}`
  const own = {
    log: store.log.bind(store),
    logs: store.logs.bind(store),
    readLog: store.readLog.bind(store)
  }
  const view = (s: LogState | undefined): LogState | undefined => {
    if (s === undefined) return undefined
    const floor = Math.max(s.floor, floors.get(key(s)) ?? 1)
    const given = voids.get(key(s)) ?? []
    let all = emptyHeld(floor)
    let held = emptyHeld(floor)
    for (const r of heldRanges(s)) {
      all = insertRange(all, r, Infinity)!
      held = insertRange(held, r, Infinity)!
    }
    for (const r of given) all = insertRange(all, r, Infinity)!
    const islands = heldRanges(held).filter((r) => r.from > all.head)
    const lost: SequenceRange[] = []
    for (let i = floor; i <= all.head; i++) if (!holds(held, i)) lost.push({ from: i, to: i })
    const bytes = floor > s.head ? 0 : s.bytes
    return { ...s, floor, head: Math.max(all.head, floor - 1), islands, voids: lost, bytes }
  }
  return Object.assign(store, {
    flush: async () => {},
    raiseFloor: async (log: LogRef, floor: number) => {
      floors.set(key(log), Math.max(floor, floors.get(key(log)) ?? 1))
    },
    giveUp: async (log: LogRef, range: SequenceRange) => {
      voids.set(key(log), [...(voids.get(key(log)) ?? []), range])
    },
    log: (ref: LogRef) => view(own.log(ref)),
    logs: (channel?: string) => own.logs(channel).map((s) => view(s)!),
    readLog: async (ref: LogRef, from: number, options?: object) => {
      const floor = floors.get(key(ref)) ?? 1
      const raw = (await own.readLog(ref, Math.max(from, floor), options)) as any[]
      return raw.map((e) =>
        e.head === undefined ? { head: e, record: e, bornAt: e.header.time.ms } : e
      )
    }
  }) as Store
}
