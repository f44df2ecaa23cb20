import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { buildPackage } from '../build.ts'
import type { Places } from './harness/team.ts'
import { peersFolder } from './adapters/peer-packages.ts'

const BENCH = new URL('./', import.meta.url)
const ROOT = new URL('../', BENCH)

export const RESULTS = fileURLToPath(new URL('results/', BENCH))

/**
 * Compiles the package, and the bench itself: workers run plain JavaScript without a loader, as users do. The package
 * goes to a folder of the bench's own, so that a build meanwhile does not change what is measured. Types are not
 * checked here; `npm run check` does.
 */
export function build(packageToo: boolean): Places {
  const skein = new URL(packageToo ? 'results/package/index.js' : '../dist/index.js', BENCH)
  if (packageToo) buildPackage({ into: 'bench/results/package', checkTypes: false })
  else if (!existsSync(skein)) throw new Error('there is no dist/index.js; leave out --no-build')
  compile('bench')
  return {
    build: new URL('results/build/', BENCH),
    skeinUrl: skein.href,
    peersDir: peersFolder(BENCH)
  }
}

/** Codec, store and disk by themselves, each in a process of its own. */
const MICRO = ['codec', 'store', 'sync']

export function runMicro(places: Places): void {
  for (const name of MICRO) {
    const script = fileURLToPath(new URL(`bench/micro/${name}.js`, places.build))
    console.log(`\n${name}\n`)
    execFileSync(process.execPath, [script], { stdio: 'inherit' })
  }
}

/** What the doors of a node cost. */
const DOORS = ['fan-out', 'overhead']

/** `which`: one of them, or all. Throws where there is no such measurement. */
export function runDoors(places: Places, which: string): void {
  const names = which === 'all' ? DOORS : DOORS.filter((name) => name === which)
  if (names.length === 0)
    throw new Error(`--doors ${which}: it is all or one of ${DOORS.join(', ')}`)
  for (const name of names) {
    const script = fileURLToPath(new URL(`bench/doors/${name}.js`, places.build))
    console.log(`\n${name}\n`)
    execFileSync(process.execPath, [script], { stdio: 'inherit' })
  }
}

function compile(project: string): void {
  execFileSync(
    process.execPath,
    ['node_modules/typescript/bin/tsc', '-p', project],
    // The figures alone go to stdout.
    { cwd: ROOT, stdio: ['ignore', 2, 2] }
  )
}
