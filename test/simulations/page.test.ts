import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { scenarioNames } from '../../simulations/scenario/catalogue.ts'
import { FAULT_KINDS } from '../../simulations/scenario/fault-schema.ts'
import { parseScenario } from '../../simulations/scenario/parse.ts'
import { scheduleOf } from '../../simulations/scenario/schedule.ts'

const page = readFileSync(new URL('../../docs/simulator.md', import.meta.url), 'utf8')

describe('docs: simulator', () => {
  it('shows a full scenario that parses', () => {
    const text = /```yaml\n([\s\S]*?)```/.exec(page)?.[1] ?? ''
    const scenario = parseScenario(text, { file: 'orders.yaml' })
    expect(scenario.nodes.map(({ name }) => name)).toEqual([
      'shop',
      'warehouse1',
      'warehouse2',
      'warehouse3',
      'keeper'
    ])
    expect(scheduleOf(scenario, 7).map(({ text: step }) => step)).toContain(
      'lose-unsynced-writes shop'
    )
  })

  it('names every fault in its table, and every scenario', () => {
    expect(FAULT_KINDS.filter((kind) => !page.includes(`\n| \`${kind}:`))).toEqual([])
    expect(FAULT_KINDS).toHaveLength(19)
    expect(scenarioNames().filter((name) => !page.includes(`\`${name}\``))).toEqual([])
  })

  it('shows examples of faults that parse', () => {
    const rows = [...page.matchAll(/^\| `([a-z-]+: .+?)` \|/gm)].map(([, row = '']) => row)
    expect(rows.length).toBeGreaterThanOrEqual(FAULT_KINDS.length)
    const more: Readonly<Record<string, string>> = {
      flap: ', down: 1s, up: 1s',
      'clock-skew': ', by: 1h',
      'slow-disk': ', by: 20ms'
    }
    const entries = rows.map(
      (row) => `  - { at: 1s, ${row}${more[row.split(':')[0] ?? ''] ?? ''} }`
    )
    const text = `description: x\nnodes: 3\nend: 9s\ntimeline:\n${entries.join('\n')}\n`
    expect(parseScenario(text, { file: 'rows.yaml' }).faults).toHaveLength(rows.length)
  })
})
