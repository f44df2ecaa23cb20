import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { LAN, inNamespace } from './namespace.ts'
import { temporaryFolder } from './skein-process.ts'
import { linesIn, sourceText } from './source-text.ts'

interface Outcome {
  readonly discoveryMs: number
  readonly transferMs: number
  readonly published: number
  readonly codes: readonly number[]
  readonly log: readonly string[]
}

describe('discovery: three nodes that are told nothing of each other', () => {
  it('meet within 2 s, and a text of 100,000 lines arrives at both others byte for byte', async (context) => {
    const folder = await temporaryFolder(onTestFinished)
    const text = await sourceText(100_000)
    const lines = linesIn(text)
    expect(lines).toBeGreaterThanOrEqual(100_000)
    await writeFile(join(folder, 'text'), text)
    const args = [folder, join(folder, 'text'), String(lines)]
    const script = new URL('./discovery-scenario.ts', import.meta.url)
    const outcome = await inNamespace<Outcome>(context, LAN, script, args)
    process.stdout.write(
      `three nodes met ${Math.round(outcome.discoveryMs)} ms after the third was ready; ` +
        `${lines} lines took ${Math.round(outcome.transferMs)} ms\n`
    )
    expect(outcome).toMatchObject({ published: lines, codes: [0, 0] })
    expect(outcome.discoveryMs).toBeLessThan(2000)
    for (const name of ['second', 'third']) {
      const received = await readFile(join(folder, `${name}.out`))
      expect(received.length).toBe(text.length)
      expect(received.equals(text)).toBe(true)
    }
  }, 120_000)
})
