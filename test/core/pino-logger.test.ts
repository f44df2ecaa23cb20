import { describe, expect, it } from 'vitest'
import { SkeinError } from '../../src/core/errors.ts'
import { createLogger } from '../../src/core/pino-logger.ts'

describe('logger', () => {
  it('logger: an error says what, with its code, cause and stack, in either of its fields', () => {
    const lines: string[] = []
    const logger = createLogger(
      { level: 'warn', name: 'ann' },
      { write: (line) => lines.push(line) }
    )
    const cause = new Error('no space left')
    const error = new SkeinError('ERR_STORE_WRITE', 'cannot write', { cause })
    logger.error({ error }, 'a request failed')
    logger.warn({ err: error }, 'a request failed')
    logger.warn({ error: 'text' }, 'as it is')
    logger.info({}, 'not said')
    const [first, second, third] = lines.map((line) => JSON.parse(line) as Record<string, unknown>)
    expect(first).toMatchObject({ level: 50, node: 'ann', msg: 'a request failed' })
    for (const shown of [first?.['error'], second?.['err']] as Record<string, string>[]) {
      expect(shown).toMatchObject({ code: 'ERR_STORE_WRITE' })
      expect(shown['message']).toContain('cannot write')
      expect(shown['stack']).toContain('no space left')
    }
    expect(third?.['error']).toBe('text')
    expect(lines).toHaveLength(3)
  })
})
