import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/** Real processes run what users run: the built package, so it is built once before the tests. */
export function setup(): void {
  const root = fileURLToPath(new URL('..', import.meta.url))
  execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'src'], {
    cwd: root,
    stdio: 'inherit'
  })
}
