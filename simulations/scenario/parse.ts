import { LineCounter, isMap, isNode, isPair, isScalar, parseDocument } from 'yaml'
import type { Document, Node } from 'yaml'
import { SkeinError } from '../../src/core/errors.ts'
import type { Scenario } from './contract.ts'
import { resolveScenario } from './resolve.ts'
import { document as schema } from './schema.ts'

/** Where a scenario's text comes from. */
export interface Source {
  /** Stands in errors. */
  readonly file: string
  /** Used when the text has no `name`; default: the file's name without folder and extension. */
  readonly name?: string
}

interface Found {
  readonly line: number
  readonly column: number
  readonly path: string
  readonly what: string
}

/**
 * Reads a scenario. Throws ERR_SCENARIO on the first thing that is wrong, with `details` `{ file, line, column,
 * path, problems }`; `problems` has one sentence for each thing, at most 20.
 */
export function parseScenario(text: string, { file, name }: Source): Scenario {
  const lines = new LineCounter()
  const yaml = parseDocument(text, { lineCounter: lines, strict: true, uniqueKeys: true })
  if (yaml.errors.length > 0) {
    throw wrong(
      file,
      yaml.errors.map((error) => ({
        line: error.linePos?.[0].line ?? 1,
        column: error.linePos?.[0].col ?? 1,
        path: '',
        what: `is not valid YAML: ${error.message.split(/ at line /)[0] ?? error.code}`
      }))
    )
  }
  const locate = (path: Path, what: string, keys: readonly string[] = []): Found => {
    const [line, column] = positionOf({ yaml, lines }, path, keys[0])
    return { line, column, path: pathText(path), what }
  }
  const raw = schema.safeParse(yaml.toJS() ?? {})
  if (!raw.success) {
    throw wrong(
      file,
      raw.error.issues.map((issue) => {
        const path = issue.path.filter((step) => typeof step !== 'symbol')
        return locate(path, issue.message, keysOf(issue))
      })
    )
  }
  const { problems, scenario } = resolveScenario(raw.data, name ?? baseName(file))
  if (problems.length > 0) {
    throw wrong(
      file,
      problems.map(({ path, what }) => locate(path, what))
    )
  }
  return deepFreeze(scenario)
}

type Path = ReadonlyArray<string | number>

function wrong(file: string, found: readonly Found[]): SkeinError {
  const sorted = found.toSorted((a, b) => a.line - b.line || a.column - b.column)
  const problems = sorted
    .slice(0, 20)
    .map(
      ({ column, line, path, what }) =>
        `${file}:${line}:${column}: ${path === '' ? 'the scenario' : `'${path}'`} ${what}`
    )
  const { column = 1, line = 1, path = '' } = sorted[0] ?? {}
  const more = sorted.length > 1 ? ` (and ${sorted.length - 1} more)` : ''
  return new SkeinError('ERR_SCENARIO', `${problems[0] ?? file}${more}`, {
    details: { file, line, column, path, problems }
  })
}

function keysOf(issue: object): readonly string[] {
  if ('keys' in issue) return issue.keys as readonly string[]
  const params = 'params' in issue ? (issue.params as { keys?: readonly string[] }) : {}
  return params.keys ?? []
}

/** The deepest part of the path that stands in the text; or the key there that nobody knows. */
function positionOf(
  { lines, yaml }: { lines: LineCounter; yaml: Document },
  path: Path,
  key: string | undefined
): readonly [number, number] {
  let found: unknown = undefined
  for (let depth = path.length; depth >= 0 && !isNode(found); depth--) {
    const inner = depth === 0 ? yaml.contents : yaml.getIn(path.slice(0, depth), true)
    if (isNode(inner)) found = inner
  }
  const start = (key === undefined ? undefined : keyStart(found, key)) ?? startOf(found)
  const { col, line } = lines.linePos(start)
  return [line, col]
}

function keyStart(node: unknown, key: string): number | undefined {
  if (!isMap(node)) return undefined
  const pair = node.items.find(
    (item) => isPair(item) && isScalar(item.key) && item.key.value === key
  )
  return pair === undefined ? undefined : startOf(pair.key)
}

function startOf(node: unknown): number {
  return isNode(node) ? ((node as Node).range?.[0] ?? 0) : 0
}

function pathText(path: Path): string {
  return path
    .map((step, i) => (typeof step === 'number' ? `[${step}]` : `${i === 0 ? '' : '.'}${step}`))
    .join('')
}

function baseName(file: string): string {
  return (file.split(/[\\/]/).at(-1) ?? file).replace(/\.ya?ml$/, '')
}

function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value
  for (const inner of Object.values(value)) deepFreeze(inner)
  return Object.freeze(value)
}
