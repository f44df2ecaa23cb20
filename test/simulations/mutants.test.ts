import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { MUTANTS } from './mutants/catalogue.ts'
import { Laboratory } from './mutants/laboratory.ts'
import type { Mutant } from './mutants/mutant.ts'

/** Every third one, so that all the tests together are done in time; all of them with SKEIN_TEST_FULL. */
const CHOSEN =
  process.env['SKEIN_TEST_FULL'] === undefined ? MUTANTS.filter((_, at) => at % 3 === 0) : MUTANTS

let laboratory: Laboratory
const caught: string[][] = [['mutant', 'scenario', 'seed', 'checker', 'first violation']]

beforeAll(() => {
  laboratory = new Laboratory()
})

afterAll(() => {
  laboratory.close()
  process.stdout.write(`${table(caught)}\n`)
})

/** Each trial once, however many mutants share it. */
const trials = new Map(
  CHOSEN.map((mutant) => {
    const { seed, worksMs } = mutant
    const work = worksMs === undefined ? '' : `, ${worksMs} ms of work at each message`
    return [`${nameOf(mutant)}, seed ${seed}${work}`, mutant]
  })
)

describe('mutants: what is not broken passes', () => {
  it.each([...trials])('%s', { timeout: 60_000 }, async (_, { scenario, seed, worksMs }) => {
    const { violations } = await laboratory.run({ scenario, seed, worksMs })
    expect(violations).toEqual([])
  })
})

describe('mutants: what is broken on purpose is noticed', () => {
  it.each(CHOSEN.map((mutant) => [mutant.name, mutant.checker, mutant] as const))(
    '%s, by %s',
    { timeout: 60_000 },
    async (name, checker, mutant) => {
      const { edits, scenario, seed, worksMs } = mutant
      const { violations } = await laboratory.run({ scenario, seed, worksMs }, edits)
      expect(violations.map((violation) => violation.checker)).toContain(checker)
      const first = violations.find((violation) => violation.checker === checker)
      expect(first?.what).toMatch(/\w/)
      caught.push([
        name,
        nameOf(mutant),
        `${seed}`,
        checker,
        `${first?.subscription}: ${first?.what}`
      ])
    }
  )
})

describe('mutants: a text to replace', () => {
  it.each([
    ['not there any more', 'no such text', '0 places'],
    ['there twice', 'import', 'places']
  ])('that is %s fails', async (_, find, message) => {
    const edit = { file: 'src/replication/sync.ts', find, put: '' }
    const [trial] = trials.values()
    await expect(laboratory.run(trial as Mutant, [edit])).rejects.toThrow(message)
  })
})

function nameOf({ scenario }: Pick<Mutant, 'scenario'>): string {
  return /^name: (.*)$/m.exec(scenario)?.[1] ?? ''
}

function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]?.map((_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0))
  )
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => cell.padEnd(widths?.[column] ?? 0))
      .join('  ')
      .trimEnd()
  return rows.map(line).join('\n')
}
