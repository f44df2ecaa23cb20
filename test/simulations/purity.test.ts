import { readFileSync, readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

/** What makes two runs of one seed differ. */
const FORBIDDEN =
  /\b(?:Date\.now|Math\.random|setTimeout|setInterval|setImmediate|performance\.now|randomBytes|randomUUID|randomInt|AbortSignal\.timeout|process\.hrtime)\b|\bnew Date\(\)|\bDate\(\)/

/** Where it has to be, and why. */
const ALLOWED: Readonly<Record<string, string>> = {
  'simulations/world/virtual-time.ts': 'the loop that runs everything else',
  'src/mesh/discovery.ts': 'of libp2p alone',
  'src/mesh/frame-stream.ts': 'of libp2p alone',
  'src/mesh/libp2p-host.ts': 'of libp2p alone',
  'src/mesh/libp2p-transport.ts': 'of libp2p alone',
  'src/mesh/neighbours.ts': 'of libp2p alone'
}

const FOLDERS = [
  'src/wire',
  'src/store',
  'src/mesh',
  'src/replication',
  'src/delivery',
  'src/services',
  'simulations/world',
  'simulations/runner'
]

const root = fileURLToPath(new URL('../../', import.meta.url))

function wrongLines(file: string): string[] {
  const lines = readFileSync(root + file, 'utf8').split('\n')
  return lines.flatMap((line, i) => {
    const text = line.trim()
    if (text.startsWith('//') || text.startsWith('*') || text.startsWith('/*')) return []
    return FORBIDDEN.test(text) ? [`${file}:${i + 1}: ${text}`] : []
  })
}

describe('simulations: what a run is made of', () => {
  it('takes time and chance only from what the simulator controls', () => {
    const files = FOLDERS.flatMap((folder) =>
      readdirSync(root + folder, { recursive: true, encoding: 'utf8' })
        .filter((name) => name.endsWith('.ts'))
        .map((name) => `${folder}/${name}`)
    )
    expect(files.length).toBeGreaterThan(100)
    const found = files.filter((file) => !(file in ALLOWED)).flatMap(wrongLines)
    expect(found).toEqual([])
  })

  it('knows what it looks for', () => {
    const bad = ['Date.now()', 'new Date()', 'Math.random()', 'setTimeout(f)', 'randomBytes(8)']
    expect(bad.filter((text) => !FORBIDDEN.test(text))).toEqual([])
    expect(FORBIDDEN.test('new Date(ms)')).toBe(false)
  })
})
