import { mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { KIB } from '../../src/core/limits.ts'
import { summarize } from '../stats.ts'

// What one durable append costs on this disk: write, fdatasync, one at a time.

const APPENDS = 500

const dir = await mkdtemp(join(tmpdir(), 'skein-micro-'))
const file = await open(join(dir, 'log'), 'a')
console.log('| bytes | p50, ms | p99, ms | max, ms |\n|---:|---:|---:|---:|')
for (const size of [KIB, 64 * KIB]) {
  const bytes = Buffer.alloc(size, 1)
  const times: number[] = []
  for (let i = 0; i < APPENDS; i++) {
    const start = performance.now()
    await file.write(bytes)
    await file.datasync()
    times.push(performance.now() - start)
  }
  const { p50, p99, max } = summarize(times)
  console.log(`| ${size} | ${p50.toFixed(3)} | ${p99.toFixed(3)} | ${max.toFixed(3)} |`)
}
await file.close()
await rm(dir, { recursive: true })
