import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** Of the page, from the root. */
const SOURCE = 'src/sidecar/dashboard'

/** Says what the files beside it were made from; not a file of the page. */
const STAMP = '.source'

export interface DashboardBuildInit {
  /** The folder of the package. */
  readonly root: string
  /** The folder to build into; the page goes into `dashboard` there. */
  readonly dist: string
  readonly quiet: boolean
}

/**
 * Bundles the dashboard, unless its source is what was bundled before. Answers the bundler's exit code. Whoever serves
 * the old page meanwhile is not disturbed: new files come first, their names have their digest, and old ones go last.
 */
export function buildDashboard({ dist, quiet, root }: DashboardBuildInit): number {
  const target = join(dist, 'dashboard')
  const source = digestOf(root)
  if (readOr(join(target, STAMP)) === source) return 0
  mkdirSync(dist, { recursive: true })
  const draft = mkdtempSync(join(dist, '.dashboard-'))
  try {
    const { error, status } = spawnSync(
      process.execPath,
      [join(root, 'node_modules/vite/bin/vite.js'), 'build', SOURCE, '--outDir', draft],
      {
        cwd: root,
        stdio: quiet ? 'ignore' : ['ignore', 2, 2],
        env: { ...process.env, NODE_ENV: 'production' }
      }
    )
    if (error !== undefined) throw error
    if (status !== 0) return status ?? 1
    const built = filesOf(draft)
    const stale = filesOf(target).filter((file) => !built.includes(file))
    // What names others last.
    for (const file of [...built.filter((name) => name !== 'index.html'), 'index.html']) {
      mkdirSync(dirname(join(target, file)), { recursive: true })
      writeFileSync(join(target, file), readFileSync(join(draft, file)))
    }
    for (const file of stale) rmSync(join(target, file))
    writeFileSync(join(target, STAMP), source)
    return 0
  } finally {
    rmSync(draft, { recursive: true, force: true })
  }
}

/** Of everything that the bundle depends on: its source, and the versions of what it is made with. */
function digestOf(root: string): string {
  const hash = createHash('sha256')
  const folder = join(root, SOURCE)
  for (const file of filesOf(folder)) hash.update(file).update(readFileSync(join(folder, file)))
  for (const name of ['preact', 'vite']) {
    hash.update(readFileSync(join(root, 'node_modules', name, 'package.json')))
  }
  return hash.digest('hex')
}

/** Paths from the folder, in order; none where it is not there. */
function filesOf(folder: string): string[] {
  try {
    return readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && entry.name !== STAMP)
      .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
      .toSorted()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}

function readOr(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}
