import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { z } from 'zod'
import { addStart } from '../../src/cli/start.ts'
import { negativeOf, resolveStartOptions, variableOf } from '../../src/cli/start-options.ts'
import { nodeOptionsSchema } from '../../src/node/options.ts'
import { codesOf, pageOf, rowsOf, sectionOf } from './tables.ts'

const page = pageOf('configuration.md')
const rows = rowsOf(sectionOf(page, '## All options')).map(
  ([
    library = '',
    flag = '',
    variable = '',
    file = '',
    fallback = '',
    unit = '',
    meaning = ''
  ]) => ({
    library: codesOf(library)[0],
    flag: codesOf(flag)[0],
    variable: codesOf(variable)[0],
    keys: codesOf(file),
    fallback,
    unit,
    meaning
  })
)
const shape: Readonly<Record<string, z.ZodType>> = nodeOptionsSchema.shape
const flags = addedTo(addStart).options.filter(({ long }) => long !== '--help')

function addedTo(add: (program: Command) => void): Command {
  const program = new Command()
  add(program)
  return program.commands[0] as Command
}

/** A description ends with 'Default ...' where the schema has no default of its own. */
function described(schema: z.ZodType): { meaning: string; fallback: string | undefined } {
  const text = schema.description ?? ''
  const match = /^(.*?) *Default(?: of the library)?:? (.*)\.$/.exec(text)
  // The table has a column of its own for the unit.
  return { meaning: (match?.[1] ?? text).replace(', ms.', '.'), fallback: match?.[2] }
}

function shown(value: unknown): string {
  const empty = typeof value === 'object' && value !== null && Object.keys(value).length === 0
  return `\`${empty ? 'none' : String(value)}\``
}

describe('docs: configuration', () => {
  it('has a row with meaning and default for every option of the library', () => {
    expect(rows.flatMap(({ library }) => library ?? []).toSorted()).toEqual(
      [...Object.keys(shape), 'logger'].toSorted()
    )
    for (const [name, schema] of Object.entries(shape)) {
      const row = rows.find(({ library }) => library === name)
      const { meaning, fallback } = described(schema)
      const value = schema.parse(undefined)
      const expected = value === undefined ? (fallback ?? 'none') : shown(value)
      expect({ name, meaning: row?.meaning, fallback: row?.fallback }).toEqual({
        name,
        meaning: expect.stringContaining(meaning),
        fallback: expect.stringContaining(expected)
      })
    }
  })

  it('has a row with variable, key and default for every flag of start', () => {
    expect(rows.flatMap(({ flag }) => flag ?? []).toSorted()).toEqual(
      flags.map(({ long }) => String(long)).toSorted()
    )
    for (const option of flags) {
      const row = rows.find(({ flag }) => flag === option.long)
      const name = option.attributeName()
      const key = option.negate ? negativeOf(name) : name
      const fallback = /default: (.*)$/.exec(option.description)?.[1]
      expect({
        variable: row?.variable,
        key: row?.keys[0],
        fallback: row?.fallback.replaceAll('`', '')
      }).toEqual({
        variable: variableOf(key),
        key: key === 'config' ? undefined : key,
        fallback: expect.stringContaining(fallback ?? '')
      })
    }
  })

  it('has no option without a place, and no flag without a variable', () => {
    for (const { flag, variable, keys, library, meaning, unit } of rows) {
      expect([library, flag, ...keys].some((name) => name !== undefined)).toBe(true)
      expect(variable === undefined).toBe(flag === undefined)
      expect(meaning).not.toBe('')
      expect(unit).not.toBe('')
    }
  })

  it('has a row with meaning and default for every option of retention', () => {
    const channel = nodeOptionsSchema.shape.channels.unwrap().valueType
    expect(Object.keys(channel.shape)).toEqual(['retention'])
    const retention: Readonly<Record<string, z.ZodType>> = channel.shape.retention.unwrap().shape
    const found = rowsOf(sectionOf(page, '## What to keep, per channel'))
    expect(found.map(([name = '']) => codesOf(name)[0])).toEqual(Object.keys(retention))
    for (const [name = '', fallback = '', , meaning = ''] of found) {
      const text = described(retention[codesOf(name)[0] as string] as z.ZodType)
      expect(meaning).toContain(text.meaning)
      expect(fallback).toContain(text.fallback)
    }
  })
})

describe('docs: configuration file', () => {
  let folder = ''
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'skein-docs-'))
  })
  afterAll(() => rm(folder, { recursive: true, force: true }))

  const read = async (yaml: string): ReturnType<typeof resolveStartOptions> => {
    const path = join(folder, 'skein.yaml')
    await writeFile(path, yaml)
    return resolveStartOptions({ config: path }, {})
  }

  it('takes every key of the table and no other', async () => {
    const isTaken = (yaml: string): Promise<boolean> =>
      read(yaml).then(
        () => true,
        () => false
      )
    const refused: string[] = []
    for (const key of rows.flatMap(({ keys }) => keys)) {
      // As a switch or as a text.
      if (!(await isTaken(`${key}: true`)) && !(await isTaken(`${key}: warn`))) refused.push(key)
    }
    expect(refused).toEqual([])
    await expect(read('colour: red')).rejects.toMatchObject({ code: 'ERR_OPTIONS' })
  })

  it('of the example is valid', async () => {
    const example = /```yaml\n([\s\S]*?)```/.exec(page)?.[1] ?? ''
    const { fileOnly, listen, join: peers, networkKey, name, mesh, dataDir } = await read(example)
    nodeOptionsSchema.parse({ ...fileOnly, listen, join: peers, networkKey, name, mesh, dataDir })
    expect(Object.keys(fileOnly)).toEqual(['channels'])
  })
})
