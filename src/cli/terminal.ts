import type { Writable } from 'node:stream'
import { SkeinError, isSkeinError, toSkeinError } from '../core/errors.ts'

// C0 and C1 controls, and the marks that turn the direction of text.
// oxlint-disable-next-line no-control-regex
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069\n]/g

const escapeOne = (char: string): string =>
  char === '\n'
    ? '\\n'
    : `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`.replace('\\u00', '\\x')

/** Text from elsewhere, made harmless for a terminal: a message must not move the cursor or set a title. */
export function escapeControls(text: string): string {
  return text.replace(CONTROL, escapeOne)
}

/** For standard output: escaped when it is a terminal, as it is otherwise. */
export function shown(text: string): string {
  return process.stdout.isTTY ? escapeControls(text) : text
}

/** Writes to standard output; resolves when it has been taken. */
export function print(text: string | Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(text, (error) => {
      if (error) reject(error)
      else resolve()
    })
  })
}

/** A line for people, on standard error. */
export function say(text: string): void {
  process.stderr.write(`${escapeControls(text)}\n`)
}

/** One JSON value on a line of standard output. */
export function printJson(value: unknown): Promise<void> {
  return print(`${JSON.stringify(value)}\n`)
}

/** Rows as aligned columns. */
export function table(head: readonly string[], rows: ReadonlyArray<readonly string[]>): string {
  const clean = rows.map((row) => row.map((cell) => shown(cell)))
  const widths = head.map((title, i) =>
    Math.max(title.length, ...clean.map((row) => row[i]?.length ?? 0))
  )
  const line = (row: readonly string[]): string =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd()
  return `${[head, ...clean].map(line).join('\n')}\n`
}

/** Ends quietly when the reader of standard output has gone (`skein sub … | head`). */
export function endQuietlyOnClosedPipe(stream: Writable = process.stdout): void {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE' || error.code === 'EOF') process.exit(0)
    process.stderr.write(`skein: standard output failed: ${error.message}\n`)
    process.exit(1)
  })
}

/** The one line a failed command leaves, with its code; the stack only on request. */
export function reportError(error: unknown, verbose: boolean): 1 | 2 | 3 {
  const known = isSkeinError(error)
  const { code, message, exit } = known ? error : toSkeinError(error)
  say(`skein: ${message.replace(/\.$/, '').replaceAll('\n', ' ')} (${code})`)
  if (verbose && error instanceof Error) process.stderr.write(`${error.stack ?? ''}\n`)
  return exit
}

/** Aborts at SIGINT or SIGTERM; a second SIGINT ends the process at once. */
export function interruption(): AbortSignal {
  const controller = new AbortController()
  const onSignal = (signal: NodeJS.Signals): void => {
    if (controller.signal.aborted && signal === 'SIGINT') process.exit(130)
    controller.abort(new SkeinError('ERR_ABORTED', `Ended by ${signal}.`))
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  return controller.signal
}
