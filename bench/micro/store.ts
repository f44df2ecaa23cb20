import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../../src/core/clock.ts'
import { KIB } from '../../src/core/limits.ts'
import { silentLogger } from '../../src/core/logger.ts'
import { systemRandom } from '../../src/core/random.ts'
import { openDirectory } from '../../src/store/directory.ts'
import { createStore } from '../../src/store/level-store.ts'
import { Author } from './author.ts'

// What the store takes: records of 64 KiB, several appends under way, each synced before it resolves.

const RECORDS = 2000
const UNDER_WAY = [1, 4, 16]

async function measure(underWay: number): Promise<void> {
  const path = await mkdtemp(join(tmpdir(), 'skein-micro-'))
  const directory = await openDirectory(path)
  const store = createStore(
    { ...directory, clock: systemClock, random: systemRandom, logger: silentLogger },
    { reserveBytes: 0 }
  )
  await store.start()
  const author = new Author(KIB)
  const records = Array.from({ length: RECORDS }, () => author.write())
  const start = performance.now()
  let next = 0
  const appendOneByOne = async (): Promise<void> => {
    for (let record = records[next++]; record !== undefined; record = records[next++]) {
      await store.append([{ record, ageMs: 0 }], { sync: true })
    }
  }
  await Promise.all(Array.from({ length: underWay }, appendOneByOne))
  const seconds = (performance.now() - start) / 1000
  await store.stop()
  await rm(path, { recursive: true, force: true })
  const perSecond = RECORDS / seconds
  const mib = (perSecond * 64) / KIB
  console.log(`| ${underWay} | ${perSecond.toFixed(0)} | ${mib.toFixed(0)} |`)
}

console.log('| appends under way | records of 64 KiB a second, synced | MiB/s |\n|---:|---:|---:|')
for (const underWay of UNDER_WAY) await measure(underWay)
