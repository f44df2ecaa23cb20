import { emitKeypressEvents } from 'node:readline'
import type { ReadStream, WriteStream } from 'node:tty'
import type { Size } from './frame.ts'
import { type Line, paint } from './styled-line.ts'

/** The two sides of a terminal. */
export interface Terminal {
  readonly input: Pick<
    ReadStream,
    'setRawMode' | 'pause' | 'resume' | 'on' | 'off' | 'listenerCount' | 'removeAllListeners'
  >
  readonly output: Pick<WriteStream, 'write' | 'columns' | 'rows' | 'hasColors' | 'on' | 'off'>
}

/** A key, by the names of node:readline. */
export interface Key {
  readonly name?: string | undefined
  readonly ctrl?: boolean | undefined
}

const ESC = '\u001b['
/** The other screen, without a cursor: what was on the terminal comes back when it is left. */
const ENTER = `${ESC}?1049h${ESC}?25l`
const LEAVE = `${ESC}?25h${ESC}?1049l`
/** Between these, terminals that know them show nothing half drawn. */
const [BEGIN, END] = [`${ESC}?2026h${ESC}H`, `${ESC}J${ESC}?2026l`]

/** Used where a terminal does not tell its size. */
const USUAL: Size = { columns: 80, rows: 24 }

/** A terminal that is drawn on as a whole. */
export class Screen {
  readonly #terminal: Terminal
  readonly #hasColour: boolean
  #onKey: ((key: Key) => void) | undefined
  #onResize: (() => void) | undefined

  constructor(terminal: Terminal) {
    this.#terminal = terminal
    this.#hasColour = terminal.output.hasColors()
  }

  get size(): Size {
    const { columns, rows } = this.#terminal.output
    return { columns: columns || USUAL.columns, rows: rows || USUAL.rows }
  }

  open({ onKey, onResize }: { onKey: (key: Key) => void; onResize: () => void }): void {
    const { input, output } = this.#terminal
    this.#onKey = onKey
    this.#onResize = onResize
    emitKeypressEvents(input as ReadStream)
    input.setRawMode(true)
    input.on('keypress', this.#press)
    output.on('resize', onResize)
    // However the process ends: nobody must be left with a terminal that echoes nothing.
    process.on('exit', this.#leave)
    input.resume()
    output.write(ENTER)
  }

  draw(lines: readonly Line[]): void {
    const { columns } = this.size
    const text = lines.map((line) => paint(line, columns, this.#hasColour)).join(`${ESC}K\r\n`)
    this.#terminal.output.write(`${BEGIN}${text}${ESC}K${END}`)
  }

  /** Gives the terminal back as it was. Idempotent. */
  close(): void {
    this.#leave()
  }

  readonly #press = (_text: string | undefined, key: Key): void => this.#onKey?.(key)

  readonly #leave = (): void => {
    if (this.#onKey === undefined) return
    const { input, output } = this.#terminal
    input.off('keypress', this.#press)
    if (this.#onResize !== undefined) output.off('resize', this.#onResize)
    process.off('exit', this.#leave)
    this.#onKey = undefined
    input.setRawMode(false)
    input.pause()
    output.write(LEAVE)
  }
}
