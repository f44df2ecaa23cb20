import { describe, expect, it } from 'vitest'
import { buildReport } from '../../simulations/report/build-report.ts'
import type { Report } from '../../simulations/report/contract.ts'
import { reportHtml } from '../../simulations/report/html.ts'
import { formatTable } from '../../simulations/report/table.ts'
import { loadScenario } from '../../simulations/scenario/catalogue.ts'
import type { TraceEvent } from '../../simulations/trace.ts'
import { syntheticTrace } from './synthetic-trace.ts'

const scenario = loadScenario('split-brain')
const trace = syntheticTrace(scenario, scenario.seed)
const reportOf = (of: readonly TraceEvent[]): Report =>
  buildReport({
    scenario,
    seed: scenario.seed,
    tier: 'virtual',
    trace: of,
    simulatedMs: scenario.endMs + scenario.drainMs,
    wallMs: 200
  })
const good = reportOf(trace)
const missing = (event: TraceEvent): boolean =>
  event.kind === 'handed' &&
  event.subscription === 'n3/audit' &&
  event.message.id === 'n4/s000/300/all'
const bad = reportOf(trace.filter((event) => !missing(event)))

describe('report', () => {
  it('counts what was published, delivered and lost, and survives JSON', () => {
    expect(good).toMatchObject({
      scenario: 'split-brain',
      seed: 7,
      ok: true,
      published: 1920,
      delivered: 11_520,
      lost: 0,
      duplicated: 0,
      outOfOrder: 0,
      violations: [],
      replay: 'skein sim split-brain --seed 7'
    })
    expect(good.convergenceMs).toBeGreaterThan(0)
    expect(bad).toMatchObject({ ok: false, delivered: 11_519, lost: 1 })
    expect(bad.rules.filter(({ violations }) => violations > 0).map(({ rule }) => rule)).toEqual([
      'lost-messages',
      'silent-gaps',
      'convergence',
      'delivered-counts'
    ])
    expect(JSON.parse(JSON.stringify(bad))).toEqual(bad)
  })

  it('shows lag while the halves are apart and none at the end, but for what is lost', () => {
    const { curve, lag } = good
    const column = (ms: number): number[] =>
      lag.values.map((row) => row[Math.floor(ms / lag.stepMs)] ?? -1)
    expect(Math.min(...column(39_000))).toBeGreaterThan(500)
    expect(column(59_000)).toEqual([0, 0, 0, 0, 0, 0])
    expect([curve.owed.at(-1), curve.done.at(-1)]).toEqual([11_520, 11_520])
    expect(bad.lag.values.map((row) => row.at(-1))).toEqual([0, 0, 1, 0, 0, 0])
  })

  it('keeps the faults as they were, and who reached whom', () => {
    expect(good.faults).toEqual([
      {
        kind: 'partition',
        text: 'partition n1..n3 | n4..n6',
        nodes: ['n1', 'n2', 'n3', 'n4', 'n5', 'n6'],
        atMs: 10_000,
        untilMs: 40_000
      }
    ])
    const parts = good.topologies.map((shot) => shot.parts.join(''))
    expect(parts).toContain('000111')
    expect(parts.at(-1)).toBe('000000')
  })

  it('table: is plain text without a terminal, and shows the history of a violation', () => {
    expect(formatTable(good)).toMatch(/^split-brain {2}seed 7 {2}✓ holds\n/)
    expect(formatTable(good)).not.toContain('\u001b')
    expect(formatTable(good, { color: true })).toContain('\u001b[32m')
    const table = formatTable(bad)
    expect(table).toMatch(/✗ 4 violations/)
    expect(table).toContain('confirmed    n4/s000/300/all')
    expect(table).toContain('Replay: skein sim split-brain --seed 7')
  })

  it('page: needs nothing from elsewhere and takes no markup from names', () => {
    const page = reportHtml({
      ...bad,
      description: '</script><img src=x onerror=alert(1)>',
      replay: 'skein sim </script>',
      nodes: ['<b>', ...bad.nodes.slice(1)]
    })
    expect(page).not.toMatch(/https?:|<link|<img|@import|url\(/)
    expect(page.match(/<\/script>/g)).toHaveLength(2)
    expect(page).toContain("default-src 'none'")
    expect(page).toContain('prefers-color-scheme:dark')
    expect(page).toContain('4 violations')
  })

  it('page and table: take a run in which nothing happened', () => {
    const empty = reportOf([])
    expect(empty).toMatchObject({ ok: false, published: 0, convergenceMs: null, latency: null })
    expect(formatTable(empty)).toContain('–')
    expect(reportHtml(empty)).toContain('Nothing was broken in this run.')
  })
})
