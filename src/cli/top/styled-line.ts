import { escapeControls } from '../terminal.ts'

/** What a text means; the terminal shows it as it can. */
export type Style = 'title' | 'dim' | 'good' | 'warn' | 'bad' | 'chosen'

export interface Span {
  readonly text: string
  readonly style?: Style | undefined
}

/** One line of the screen. Texts may come from anywhere: they are escaped when they are painted. */
export type Line = readonly Span[]

const CODES: Readonly<Record<Style, string>> = {
  title: '1',
  dim: '2',
  good: '32',
  warn: '33',
  bad: '1;31',
  chosen: '7'
}

/** Two columns wide on terminals: East Asian letters and pictures. */
const WIDE =
  /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]/u
const LETTERS = new Intl.Segmenter()

/** Letters as people see them, with all that is drawn over them. */
function lettersOf(text: string): string[] {
  return /^[ -~]*$/.test(text)
    ? text.split('')
    : Array.from(LETTERS.segment(text), ({ segment }) => segment)
}

const widthOf = (letter: string): number => (WIDE.test(letter) ? 2 : 1)

/** The text, escaped, cut to `columns` and its width. A cut is marked. */
export function fit(text: string, columns: number): { text: string; width: number } {
  const chars = lettersOf(escapeControls(text))
  const widths = chars.map(widthOf)
  const whole = widths.reduce((sum, width) => sum + width, 0)
  if (whole <= columns) return { text: chars.join(''), width: whole }
  let width = 0
  let kept = 0
  while (width + (widths[kept] ?? 0) < columns) width += widths[kept++] ?? 0
  return columns < 1
    ? { text: '', width: 0 }
    : { text: `${chars.slice(0, kept).join('')}…`, width: width + 1 }
}

/** A line for the terminal, at most `columns` wide. */
export function paint(line: Line, columns: number, hasColour: boolean): string {
  let left = columns
  let painted = ''
  for (const { style, text } of line) {
    const part = fit(text, left)
    left -= part.width
    painted +=
      hasColour && style !== undefined ? `\u001b[${CODES[style]}m${part.text}\u001b[0m` : part.text
  }
  return hasColour ? painted : painted.trimEnd()
}

/** A cell of a table: numbers stand on the right. */
export interface Cell extends Span {
  readonly isNumber?: boolean
}

/** Widest cell of a table but the last, so that one long name does not push the rest away. */
const CELL_COLUMNS = 32

/** Rows below their heads, in columns. */
export function columnsOf(heads: readonly string[], rows: ReadonlyArray<readonly Cell[]>): Line[] {
  const all = [heads.map((text): Cell => ({ text, style: 'dim' })), ...rows]
  const last = heads.length - 1
  const cut = all.map((row) =>
    row.map((cell, i) => ({
      ...cell,
      ...fit(cell.text, i === last ? Number.MAX_SAFE_INTEGER : CELL_COLUMNS)
    }))
  )
  const widths = heads.map((_, i) => Math.max(...cut.map((row) => row[i]?.width ?? 0)))
  const numbers = heads.map((_, i) => rows.some((row) => row[i]?.isNumber === true))
  return cut.map((row) =>
    row.flatMap(({ style, text, width }, i): Span[] => {
      const pad = ' '.repeat((widths[i] ?? 0) - width)
      const gap = { text: '  ' }
      const span = { text, style }
      if (numbers[i]) return [{ text: pad }, span, gap]
      return i === last ? [span] : [span, { text: pad }, gap]
    })
  )
}
