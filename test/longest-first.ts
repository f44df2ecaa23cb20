import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** Files that run whole worlds or start many processes: small, and the longest. */
const LONG = [
  'test/simulations/library.test.ts',
  'test/simulations/mutants.test.ts',
  'test/processes/random-kills.test.ts',
  'test/cli/start.test.ts',
  'test/processes/',
  'test/cli/',
  'test/simulations/'
]

/**
 * Without figures of a former run vitest begins with the largest files, and ends with one that takes a minute while
 * the other worker has nothing left to do.
 */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files)
    return sorted.toSorted((a, b) => rankOf(a) - rankOf(b))
  }
}

function rankOf({ moduleId }: TestSpecification): number {
  const rank = LONG.findIndex((part) => moduleId.includes(part))
  return rank === -1 ? LONG.length : rank
}
