import { expect } from 'vitest'
import type { Result } from './skein-process.ts'

const escaped = (text: string): string => text.replaceAll(/[$()*+.?[\\\]^{|}]/g, '\\$&')

/** How every command fails: one line with `texts` and the code, the exit code of the error table, no stack trace. */
export function refusal(exit: number, code: string, ...texts: readonly string[]): Result {
  const contains = texts.map((text) => `(?=[^\\n]*${escaped(text)})`).join('')
  const stderr: unknown = expect.stringMatching(
    new RegExp(`^skein: ${contains}[^\\n]+ \\(${code}\\)\\n$`)
  )
  return { code: exit, signal: null, stdout: '', stderr: stderr as string }
}
