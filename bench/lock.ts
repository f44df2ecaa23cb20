import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const FILE = join(tmpdir(), 'skein-bench.lock')
const RETRY_MS = 1000

/** Waits until no other bench runs on this machine, so that two never measure each other. Returns the release. */
export async function acquireLock(onWait: (holder: number) => void): Promise<() => void> {
  let told = false
  for (;;) {
    if (tryLock()) break
    const holder = holderOf()
    if (holder === undefined || !isAlive(holder)) {
      rmSync(FILE, { force: true })
      continue
    }
    if (!told) onWait(holder)
    told = true
    await sleep(RETRY_MS)
  }
  const release = (): void => {
    if (holderOf() === process.pid) rmSync(FILE, { force: true })
  }
  process.once('exit', release)
  return release
}

function tryLock(): boolean {
  try {
    writeFileSync(FILE, String(process.pid), { flag: 'wx' })
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

function holderOf(): number | undefined {
  try {
    const holder = Number(readFileSync(FILE, 'utf8'))
    return Number.isInteger(holder) && holder > 0 ? holder : undefined
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
