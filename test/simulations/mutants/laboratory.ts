import { spawn } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import type { Outcome, Trial } from './trial.ts'

/** One piece of a source file, and what stands there instead. */
export interface Edit {
  /** From the root of the repository. */
  readonly file: string
  /** Must stand in the file exactly once. */
  readonly find: string
  readonly put: string
}

const ROOT = resolve(import.meta.dirname, '../../..')
const RUNNER = fileURLToPath(new URL('runner.ts', import.meta.url))
/** A mutant that never ends is none that a checker catches. */
const PATIENCE_MS = 60_000

/** A copy of the sources in which things can be broken, and the simulator run with what is broken. */
export class Laboratory {
  readonly #tree: string

  constructor() {
    this.#tree = mkdtempSync(join(tmpdir(), 'skein-mutants-'))
    for (const part of ['src', 'simulations', 'package.json', 'tsconfig.json']) {
      cpSync(join(ROOT, part), join(this.#tree, part), { recursive: true })
    }
    symlinkSync(join(ROOT, 'node_modules'), join(this.#tree, 'node_modules'))
  }

  /** What the simulator says with these edits, or with none; afterwards the copy is as it was. */
  async run(trial: Trial, edits: readonly Edit[] = []): Promise<Outcome> {
    const before = new Map<string, string>()
    try {
      for (const edit of edits) this.#apply(edit, before)
      return await this.#simulate(trial)
    } finally {
      for (const [path, source] of before) writeFileSync(path, source)
    }
  }

  close(): void {
    rmSync(this.#tree, { recursive: true })
  }

  #apply({ file, find, put }: Edit, before: Map<string, string>): void {
    const path = join(this.#tree, file)
    const source = readFileSync(path, 'utf8')
    const places = source.split(find).length - 1
    if (places !== 1) {
      throw new Error(`${file} has ${places} places where it says, and must have one:\n${find}`)
    }
    if (!before.has(path)) before.set(path, source)
    writeFileSync(
      path,
      source.replace(find, () => put)
    )
  }

  async #simulate(trial: Trial): Promise<Outcome> {
    const child = spawn(process.execPath, ['--import', 'tsx', RUNNER, this.#tree], {
      cwd: ROOT,
      stdio: ['pipe', 'pipe', 'pipe'],
      timeout: PATIENCE_MS,
      killSignal: 'SIGKILL'
    })
    child.stdin.end(JSON.stringify(trial))
    const ended = new Promise<number | null>((done) => child.on('close', done))
    const [out, errors] = await Promise.all([text(child.stdout), text(child.stderr)])
    const code = await ended
    if (code !== 0) throw new Error(`the simulator ended with ${code}:\n${errors}`)
    return JSON.parse(out) as Outcome
  }
}
