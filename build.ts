import { spawnSync } from 'node:child_process'
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync
} from 'node:fs'
import { dirname, join, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildDashboard } from './build-dashboard.ts'

const root = fileURLToPath(new URL('.', import.meta.url))

export interface BuildInit {
  /** Folder to build into, from the root. Default `dist`. */
  readonly into?: string
  /** Say nothing. Default false. */
  readonly quiet?: boolean
  /** Default true. */
  readonly checkTypes?: boolean
}

/**
 * Compiles the package: what is in `src` at its top, the simulator in `simulations`, the page of
 * `src/sidecar/dashboard` in `dashboard`. Answers the exit code of the compiler or the bundler; what has a type error is
 * written all the same. Files that did not change are not touched, so that whoever runs them at this moment is not
 * disturbed.
 */
export function buildPackage({
  checkTypes = true,
  into = 'dist',
  quiet = false
}: BuildInit = {}): number {
  const dist = join(root, into)
  mkdirSync(dist, { recursive: true })
  const draft = mkdtempSync(join(dist, '.build-'))
  try {
    const compiler = join(root, 'node_modules/typescript/bin/tsc')
    const { error, status } = spawnSync(
      process.execPath,
      [
        compiler,
        '-p',
        'tsconfig.build.json',
        '--outDir',
        draft,
        ...(checkTypes ? [] : ['--noCheck'])
      ],
      { cwd: root, stdio: quiet ? 'ignore' : ['ignore', 2, 2] }
    )
    if (error !== undefined) throw error
    for (const file of readdirSync(draft, { recursive: true, encoding: 'utf8' })) {
      if (/\.(js|ts|map)$/.test(file)) place({ draft, dist, file })
    }
    cpSync(join(root, 'simulations/scenarios'), join(dist, 'simulations/scenarios'), {
      recursive: true
    })
    const bundled = buildDashboard({ root, dist, quiet })
    return (status ?? 1) || bundled
  } finally {
    rmSync(draft, { recursive: true, force: true })
  }
}

function place({ dist, draft, file }: { draft: string; dist: string; file: string }): void {
  const isSource = file.startsWith(`src${sep}`)
  const target = join(dist, isSource ? file.slice(`src${sep}`.length) : file)
  const text = moved(readFileSync(join(draft, file), 'utf8'), file, isSource)
  if (readOr(target) === text) return
  mkdirSync(dirname(target), { recursive: true })
  writeFileSync(target, text)
}

/** Imports as they are one level higher up: `src` is no folder of the package. */
function moved(text: string, file: string, isSource: boolean): string {
  // A map names its source from where it was drafted, two levels or three below the root.
  if (file.endsWith('.map')) {
    return text.replace(/"sources":\["(?:\.\.\/)+/, (found) =>
      found.slice(0, isSource ? -2 * '../'.length : -'../'.length)
    )
  }
  if (!isSource) return text.replaceAll(/((?:from|import)\s*\(?\s*['"](?:\.\.\/)+)src\//g, '$1')
  return text.replaceAll(
    /((?:from|import)\s*\(?\s*['"](?:\.\.\/)*)\.\.\/simulations\//g,
    '$1simulations/'
  )
}

function readOr(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = buildPackage()
