import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeEach, describe, expect, it } from 'vitest'
import { run, tempFolder } from './command.ts'

const SCENARIO = `
description: Two nodes for a moment.
nodes: 2
workload:
  publishers:
    - { nodes: n1, topic: 'a/{node}', rate: 10, from: 500ms, until: 1500ms }
  subscriptions:
    - { nodes: n2, filter: 'a/#', durable: all }
end: 2s
drain: 1s
expect:
  delivered: { all: 10 }
`

let folder = ''
let good = ''
let bad = ''

beforeEach(async () => {
  folder = await tempFolder()
  good = join(folder, 'good.yaml')
  bad = join(folder, 'bad.yaml')
  await writeFile(good, SCENARIO)
  await writeFile(bad, SCENARIO.replace('all: 10', 'all: 11'))
})

describe('cli: sim', () => {
  it('lists what comes with it', async () => {
    const { code, text } = await run(['sim', '--list'])
    expect(code).toBe(0)
    expect(text).toMatch(/^split-brain {2,}\S/m)
  })

  it('exits with 0 where everything holds, and writes the page asked for', async () => {
    const page = join(folder, 'out.html')
    const { code, stderr, text } = await run(['sim', good, '--report', page])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(text).toContain('✓ holds')
    expect(await readFile(page, 'utf8')).toMatch(/^<!doctype html>/)
  })

  it('exits with 1 where a rule is broken, and says how to repeat it', async () => {
    const { code, stderr, text } = await run(['sim', bad, '--seed', '4', '--json'])
    expect(code).toBe(1)
    expect(stderr).toMatch(/^skein: .*ERR_VIOLATION\)\n$/)
    const report = JSON.parse(text) as Record<string, unknown>
    expect(report).toMatchObject({ seed: 4, ok: false, delivered: 10, lost: 0, duplicated: 0 })
    expect(report['replay']).toBe(`skein sim ${bad} --seed 4`)
  })

  it('spreads seeds over processes, and reports the first that failed', async () => {
    const all = await run(['sim', good, '--runs', '4', '--jobs', '2', '--json'])
    expect({ code: all.code, ...(JSON.parse(all.text) as object) }).toMatchObject({
      code: 0,
      ok: true,
      runs: 4,
      seed: 4
    })
    const failed = await run(['sim', bad, '--runs', '4', '--jobs', '2', '--seed', '6', '--json'])
    expect({ code: failed.code, ...(JSON.parse(failed.text) as object) }).toMatchObject({
      code: 1,
      ok: false,
      runs: 1,
      seed: 6
    })
  })

  it.each([
    [['sim'], 'ERR_OPTIONS'],
    [['sim', 'split-brian'], 'ERR_SCENARIO'],
    [['sim', '--runs', '2', '--real'], 'ERR_OPTIONS'],
    [['sim', 'disk-full', '--real'], 'ERR_SCENARIO'],
    [['sim', 'custodian-only', '--nodes', '5'], 'ERR_SCENARIO'],
    [['sim', 'split-brain', '--seed', 'x'], 'ERR_OPTIONS']
  ])('exits with 2 for %j', async (args, error) => {
    const { code, stderr, text } = await run(args)
    expect({ code, text }).toEqual({ code: 2, text: '' })
    expect(stderr).toMatch(new RegExp(`^skein: .*\\(${error}\\)\\n$`))
  })
})
