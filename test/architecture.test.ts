import { readFileSync, readdirSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

/** Who may import whom: only a folder of a lower rank, or itself. */
const RANKS: Readonly<Record<string, number>> = {
  core: 0,
  wire: 1,
  store: 2,
  mesh: 2,
  replication: 3,
  delivery: 4,
  services: 4,
  streams: 4,
  groups: 5,
  node: 6,
  sidecar: 7,
  cli: 8
}

/** Entry points and what they may reach. */
const ENTRIES: Readonly<Record<string, number>> = { 'index.ts': 7, 'polyfill.ts': 0 }

/** The one file that knows of the simulator. */
const SIMULATOR = 'cli/sim.ts'

const MAX_FILE_LINES = 400

const root = fileURLToPath(new URL('../', import.meta.url))
const source = join(root, 'src')

interface Import {
  readonly file: string
  readonly target: string
}

const files = readdirSync(source, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .toSorted()

const imports: Import[] = files.flatMap((file) => {
  const text = readFileSync(join(source, file), 'utf8')
  const found = text.matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)
  return [...found].map(([, target = '']) => ({ file, target }))
})

const folderOf = (file: string): string => file.split('/')[0] ?? ''

const isCode = (line: string): boolean => {
  const text = line.trim()
  return text !== '' && !text.startsWith('//') && !text.startsWith('*') && !text.startsWith('/*')
}

describe('architecture', () => {
  it('has no folder without a rank', () => {
    const folders = new Set(files.filter((file) => file.includes('/')).map(folderOf))
    expect([...folders].filter((folder) => !(folder in RANKS))).toEqual([])
  })

  it('lets dependencies point down only', () => {
    const wrong = imports.filter(({ file, target }) => {
      if (!target.startsWith('.')) return false
      const to = relative(source, resolve(source, dirname(file), target))
      if (to.startsWith('..')) return !(file === SIMULATOR && to.startsWith('../simulations/'))
      const from = file.includes('/') ? folderOf(file) : file
      const rank = RANKS[from] ?? ENTRIES[from] ?? -1
      const toRank = RANKS[folderOf(to)] ?? ENTRIES[to] ?? Infinity
      return folderOf(to) !== folderOf(file) && !(toRank < rank || to === 'polyfill.ts')
    })
    expect(wrong).toEqual([])
  })

  it('loads the simulator only for its command, and only when it is run', () => {
    const text = readFileSync(join(source, SIMULATOR), 'utf8')
    expect(text).not.toMatch(/^import (?!type ).*simulations\//m)
    expect(text).toContain("await import('../../simulations/command.ts')")
  })

  it('keeps libp2p inside mesh', () => {
    const wrong = imports.filter(
      ({ file, target }) => /libp2p|multiaddr/.test(target) && folderOf(file) !== 'mesh'
    )
    expect(wrong.filter(({ target }) => !target.startsWith('.'))).toEqual([])
  })

  it('lets only the composition root name an implementation of store or transport', () => {
    const wrong = imports.filter(
      ({ file, target }) =>
        /^\.\.\/(store|mesh)\//.test(target) &&
        !target.endsWith('/contract.ts') &&
        ['replication', 'delivery', 'services', 'streams', 'groups'].includes(folderOf(file))
    )
    expect(wrong).toEqual([])
  })

  it('lets the sidecar and the command line reach no further down than node and core', () => {
    const wrong = imports.filter(
      ({ file, target }) =>
        ['sidecar', 'cli'].includes(folderOf(file)) &&
        /^(\.\.\/)+(wire|store|mesh|replication|delivery|services|streams|groups)\//.test(target)
    )
    expect(wrong).toEqual([])
  })

  it('keeps every file under 400 lines of code', () => {
    const long = files
      .map((file) => ({
        file,
        lines: readFileSync(join(source, file), 'utf8').split('\n').filter(isCode).length
      }))
      .filter(({ lines }) => lines > MAX_FILE_LINES)
    expect(long).toEqual([])
  })

  it('takes time and randomness only from components in ranks 1 to 5', () => {
    const forbidden = /\b(Date\.now|Math\.random|setTimeout|setInterval|setImmediate|performance\.)/
    const wrong = files
      .filter((file) =>
        ['wire', 'store', 'replication', 'delivery', 'services', 'streams', 'groups'].includes(
          folderOf(file)
        )
      )
      .filter((file) =>
        readFileSync(join(source, file), 'utf8')
          .split('\n')
          .some((line) => isCode(line) && forbidden.test(line))
      )
    expect(wrong).toEqual([])
  })

  it('has no folder of leftovers', () => {
    const names = files.flatMap((file) => file.split('/'))
    expect(names.filter((name) => /^(utils?|common|helpers?|misc)(\.ts)?$/.test(name))).toEqual([])
  })
})
