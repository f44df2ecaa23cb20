import { readFileSync, readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { SkeinError } from '../../src/core/errors.ts'
import type { Scenario } from './contract.ts'
import { parseScenario } from './parse.ts'

const folder = new URL('../scenarios/', import.meta.url)

/** Names of the scenarios that come with Skein. */
export function scenarioNames(): readonly string[] {
  return readdirSync(folder)
    .filter((file) => file.endsWith('.yaml'))
    .map((file) => file.slice(0, -'.yaml'.length))
    .toSorted()
}

/**
 * A scenario by the name of one that comes with Skein, or by file. Throws ERR_SCENARIO when there is neither, or
 * when it is wrong.
 */
export function loadScenario(nameOrFile: string): Scenario {
  const known = scenarioNames().includes(nameOrFile)
  const file = known ? fileURLToPath(new URL(`${nameOrFile}.yaml`, folder)) : nameOrFile
  return parseScenario(readText(file), { file: known ? `${nameOrFile}.yaml` : file })
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    const { code = '' } = cause as NodeJS.ErrnoException
    const why = code === 'ENOENT' ? 'there is no such file' : `it cannot be read (${code})`
    throw new SkeinError(
      'ERR_SCENARIO',
      `No scenario '${file}': ${why}. Scenarios that come with Skein: ${scenarioNames().join(', ')}.`,
      { details: { file, line: 0, column: 0, path: '', problems: [] }, cause }
    )
  }
}
