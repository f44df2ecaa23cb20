import type { Commit, CommitQueue } from './commit-queue.ts'
import type { ValueEntry, ValueSpace } from './contract.ts'
import { namePrefix, rangeOf, SPACE } from './keys.ts'
import type { Level } from './level.ts'
import { decodeBytes, encodeBytes } from './rows.ts'

/** Writes a value along with something else. */
export function putValue(commit: Commit, { key, space, value }: ValueEntry): void {
  commit.put(Buffer.concat([namePrefix(SPACE.value, space), Buffer.from(key)]), encodeBytes(value))
}

/** Small values by name; every change is synced. A damaged value is as good as none. */
export function createValueSpace(
  components: { queue: CommitQueue; level: () => Level },
  space: string
): ValueSpace {
  const { level, queue } = components
  const prefix = namePrefix(SPACE.value, space)
  const keyOf = (key: string): Buffer => Buffer.concat([prefix, Buffer.from(key)])
  return {
    async get(key) {
      const row = await level().get(keyOf(key))
      return row === undefined ? undefined : decodeBytes(row)
    },
    put: (key, value) => {
      const row = encodeBytes(value)
      return queue.run(true, (commit) => {
        commit.put(keyOf(key), row)
        return true
      })
    },
    delete: (key) =>
      queue.run(true, (commit) => {
        commit.delete(keyOf(key))
        return true
      }),
    async entries() {
      const entries: [string, Uint8Array][] = []
      for await (const [key, row] of level().iterator(rangeOf(prefix))) {
        const value = decodeBytes(row)
        if (value !== undefined) entries.push([key.toString('utf8', prefix.length), value])
      }
      return entries
    }
  }
}
