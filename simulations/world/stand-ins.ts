import type { Random } from '../../src/core/random.ts'
import type { Clock } from '../../src/core/clock.ts'
import type { Level } from '../../src/store/level.ts'
import { createMemoryNetwork } from '../../src/mesh/memory-network.ts'
import { MemoryLevel } from 'memory-level'
import type { NodeClock, VirtualDisk, VirtualNetwork, VirtualTime } from './contract.ts'

interface Ev {
  at: number
  seq: number
  cb: () => void
  cancelled: boolean
}
class Time implements VirtualTime {
  nowMs = 0
  events = 0
  #seq = 0
  #heap: Ev[] = []
  schedule(ms: number, cb: () => void): { cancel(): void } {
    const ev: Ev = { at: this.nowMs + Math.max(0, ms), seq: this.#seq++, cb, cancelled: false }
    const h = this.#heap
    let i = h.length
    h.push(ev)
    while (i > 0) {
      const p = (i - 1) >> 1
      const q = h[p] as Ev
      if (q.at < ev.at || (q.at === ev.at && q.seq < ev.seq)) break
      h[i] = q
      i = p
    }
    h[i] = ev
    return {
      cancel: () => {
        ev.cancelled = true
      }
    }
  }
  #pop(): Ev | undefined {
    const h = this.#heap
    const top = h[0]
    const last = h.pop()
    if (top === undefined || last === undefined || h.length === 0) return top
    let i = 0
    for (;;) {
      let c = 2 * i + 1
      if (c >= h.length) break
      const less = (a: Ev, b: Ev): boolean => a.at < b.at || (a.at === b.at && a.seq < b.seq)
      if (c + 1 < h.length && less(h[c + 1] as Ev, h[c] as Ev)) c++
      if (!less(h[c] as Ev, last)) break
      h[i] = h[c] as Ev
      i = c
    }
    h[i] = last
    return top
  }
  async run(untilMs: number): Promise<void> {
    for (;;) {
      const top = this.#heap[0]
      if (top === undefined || top.at > untilMs) break
      this.#pop()
      if (top.cancelled) continue
      this.nowMs = top.at
      this.events++
      top.cb()
      await new Promise<void>((r) => setImmediate(r))
    }
    this.nowMs = untilMs
  }
  async settle(): Promise<void> {
    await this.run(this.nowMs)
  }
  clock(init: { skewMs?: number } = {}): NodeClock {
    let dead = false
    let skew = init.skewMs ?? 0
    let paused: (() => void)[] | undefined
    const run = (cb: () => void): void => {
      if (dead) return
      if (paused !== undefined) paused.push(cb)
      else cb()
    }
    return {
      now: () => 1_800_000_000_000 + this.nowMs + skew,
      monotonic: () => this.nowMs,
      after: (ms, cb) => {
        let off = false
        const t = this.schedule(ms, () =>
          run(() => {
            if (!off) cb()
          })
        )
        return {
          cancel: () => {
            off = true
            t.cancel()
          }
        }
      },
      soon: (cb) => {
        this.schedule(0, () => run(cb))
      },
      skew: (ms) => {
        skew = ms
      },
      kill: () => {
        dead = true
      },
      pause: () => {
        paused ??= []
      },
      resume: () => {
        const p = paused ?? []
        paused = undefined
        for (const cb of p) this.schedule(0, () => run(cb))
      }
    }
  }
}
export const createTime = (): VirtualTime => new Time()

export function createDisk(_: Random): VirtualDisk {
  let level: MemoryLevel<Buffer, Buffer> | undefined
  let _clock: Clock
  return {
    openLevel: async () => {
      level ??= new MemoryLevel<Buffer, Buffer>({
        keyEncoding: 'buffer',
        valueEncoding: 'buffer',
        storeEncoding: 'buffer'
      })
      if (level.status !== 'open') await level.open()
      return level as Level
    },
    attach: (clock) => {
      _clock = clock
      void _clock
    },
    crash: () => {},
    setFull: () => {},
    setFailing: () => {},
    setLatency: () => {},
    corrupt: () => {}
  }
}
export function createNetwork(time: VirtualTime, latencyMs: number): VirtualNetwork {
  const clock = time.clock()
  const inner = createMemoryNetwork({ clock }, { latencyMs })
  const ids = new Map<string, string>()
  const cuts = new Map<number, [string, string][]>()
  const running = new Map<string, { stop(): Promise<void> }>()
  return {
    transport: ({ name, privateKey }) => {
      const t = inner.transport({ privateKey })
      ids.set(name, t.self.id)
      running.set(t.self.id, t)
      return t
    },
    impair: (id, links, imp) => {
      if (imp.kind !== 'cut') return
      const names = [...ids.keys()]
      const pairs: [string, string][] = []
      for (const a of names)
        for (const b of names) {
          if (a >= b) continue
          const ga = links.kind === 'between' ? links.groups.findIndex((g) => g.includes(a)) : -1
          const gb = links.kind === 'between' ? links.groups.findIndex((g) => g.includes(b)) : -1
          const hit =
            links.kind === 'all' ||
            (links.kind === 'of' && (links.nodes.includes(a) || links.nodes.includes(b))) ||
            (ga !== gb && ga >= 0 && gb >= 0)
          if (hit) pairs.push([ids.get(a) as string, ids.get(b) as string])
        }
      cuts.set(id, pairs)
      for (const [a, b] of pairs) inner.cut(a, b)
    },
    repair: (id) => {
      const pairs = cuts.get(id) ?? []
      cuts.delete(id)
      for (const [a, b] of pairs) inner.heal(a, b)
    },
    kill: (peer) => {
      void running.get(peer)?.stop()
    },
    pause: (peer) => inner.freeze(peer),
    resume: (peer) => inner.thaw(peer),
    topology: () => []
  }
}
