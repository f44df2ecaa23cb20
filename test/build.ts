import { buildPackage } from '../build.ts'

/**
 * Real processes run what users run: the built package, so it is built once before the tests. Types are the
 * business of `npm run check`: what has a type error is built and tested all the same.
 */
export function setup(): void {
  buildPackage({ quiet: true, checkTypes: false })
}
