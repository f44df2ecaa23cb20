import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { explore, simulate } from '../../simulations/index.ts'

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const SEED = 7

describe('simulations: determinism', () => {
  it('gives the same trace for the same seed, in this process and in another', async () => {
    const first = await explore({ seed: SEED, nodes: 4 })
    const second = await explore({ seed: SEED, nodes: 4 })
    expect(second.traceHash).toBe(first.traceHash)
    expect(first.published).toBeGreaterThan(0)
    const args = ['sim', '--runs', '1', '--seed', String(SEED), '--nodes', '4', '--json']
    const child = spawnSync(process.execPath, [main, ...args], { encoding: 'utf8' })
    const other = JSON.parse(child.stdout) as { traceHash: string }
    expect(other.traceHash).toBe(first.traceHash)
  }, 240_000)

  it('gives another trace for another seed', async () => {
    const scenario = 'lan-happy-path'
    const [one, two] = [
      await simulate(scenario, { seed: 1 }),
      await simulate(scenario, { seed: 2 })
    ]
    expect(two.traceHash).not.toBe(one.traceHash)
  }, 240_000)
})
