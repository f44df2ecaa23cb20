import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/**
 * Real processes run what users run: the built package, so it is built once before the tests. Types are the
 * business of `npm run check`: what has a type error is built and tested all the same.
 */
export function setup(): void {
  const root = fileURLToPath(new URL('..', import.meta.url))
  const compiler = 'node_modules/typescript/bin/tsc'
  const { error } = spawnSync(process.execPath, [compiler, '-p', 'src'], {
    cwd: root,
    stdio: 'ignore'
  })
  if (error !== undefined) throw error
}
