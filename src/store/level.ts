import type { AbstractLevel } from 'abstract-level'

/** The database under the store. Keys and values are Buffers by default; `getSync` must be supported. */
export type Level = AbstractLevel<string | Buffer | Uint8Array, Buffer, Buffer>

/** One write of a batch. */
export type Operation =
  | { readonly type: 'put'; readonly key: Buffer; readonly value: Buffer }
  | { readonly type: 'del'; readonly key: Buffer }

/** The code of a database error, of its cause, or that of the system call that failed. */
export function errorCodes(error: unknown): string[] {
  const codes: string[] = []
  let at: unknown = error
  for (let depth = 0; depth < 4 && typeof at === 'object' && at !== null; depth++) {
    const { code, cause } = at as { code?: unknown; cause?: unknown }
    if (typeof code === 'string') codes.push(code)
    at = cause
  }
  return codes
}

/** Does the database say that its files are damaged? */
export function isCorruption(error: unknown): boolean {
  return errorCodes(error).includes('LEVEL_CORRUPTION')
}

/** What to do about a damaged database. */
export function remedies(dataDir: string): string {
  return (
    `stop whatever uses it and keep what is readable with: skein doctor --repair --data-dir ${dataDir}; or restore ` +
    'the directory from a copy, or move it away to start empty'
  )
}
