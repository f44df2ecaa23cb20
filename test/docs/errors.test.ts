import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { ERRORS, SkeinError } from '../../src/core/errors.ts'

const page = readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8')

describe('docs: errors', () => {
  it('lists every code with what the table says of it', () => {
    const rows = Object.entries(ERRORS).map(
      ([code, { meaning, status, exit, retryable }]) =>
        `| \`${code}\` | ${status} | ${exit} | ${retryable ? 'yes' : 'no'} | ${meaning} |`
    )
    const listed = page.split('\n').filter((line) => line.startsWith('| `ERR_'))
    expect(listed).toEqual(rows)
  })
})

describe('errors', () => {
  it('cross a boundary and come back the same', () => {
    const error = new SkeinError('ERR_BUSY', 'later', { details: { bytes: 3 } })
    const back = SkeinError.from(JSON.parse(JSON.stringify(error)) as object)
    expect(back).toMatchObject({
      code: 'ERR_BUSY',
      message: 'later',
      retryable: true,
      details: { bytes: 3 }
    })
  })

  it('of an unknown code become ERR_INTERNAL', () => {
    expect(SkeinError.from({ code: 'toString', message: 'x' }).code).toBe('ERR_INTERNAL')
  })
})
