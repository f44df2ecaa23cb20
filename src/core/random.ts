import { randomBytes, randomInt } from 'node:crypto'

/** The only source of randomness for ranks 1 to 4; the simulator implements it from one seed. */
export interface Random {
  /** `length` random bytes. */
  bytes(length: number): Uint8Array
  /** An integer, 0 <= n < `bound`; `bound` at most 2^48. */
  int(bound: number): number
}

/** The machine's cryptographic generator. */
export const systemRandom: Random = {
  bytes: (length) => randomBytes(length),
  int: (bound) => randomInt(bound)
}

/** A reproducible generator (mulberry32) for tests and simulations. Never for keys of real nodes. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return (t ^ (t >>> 14)) >>> 0
  }
  return {
    bytes: (length) => Uint8Array.from({ length }, () => next() & 0xff),
    int: (bound) => (next() * 0x10000 + (next() & 0xffff)) % bound
  }
}

/** `ms` less up to half of it, so that many nodes that wait for the same thing do not act together. */
export function jitter(random: Random, ms: number): number {
  return ms / 2 + random.int(Math.max(1, Math.floor(ms / 2)))
}

/** The same items in random order. */
export function shuffled<Item>(random: Random, items: readonly Item[]): Item[] {
  const mixed = [...items]
  for (let index = mixed.length - 1; index > 0; index--) {
    const other = random.int(index + 1)
    ;[mixed[index], mixed[other]] = [mixed[other] as Item, mixed[index] as Item]
  }
  return mixed
}
