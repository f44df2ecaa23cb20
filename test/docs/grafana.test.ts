import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { codesOf, pageOf, rowsOf, sectionOf } from './tables.ts'

interface Panel {
  readonly type: string
  readonly title: string
  readonly description?: string
  readonly gridPos: {
    readonly x: number
    readonly y: number
    readonly w: number
    readonly h: number
  }
  readonly targets?: ReadonlyArray<{ readonly expr: string }>
}

const file = new URL('../../deploy/grafana/skein.json', import.meta.url)
const { panels } = JSON.parse(readFileSync(file, 'utf8')) as { panels: readonly Panel[] }
const page = sectionOf(pageOf('operations.md'), '## Metrics')

/** Figures of the process and of Node.js come with the library that exposes them, under these names. */
const PROCESS = [
  'skein_process_resident_memory_bytes',
  'skein_process_cpu_seconds_total',
  'skein_nodejs_eventloop_lag_p99_seconds'
]
const listed = new Set(
  rowsOf(page)
    .filter((cells) => cells.length === 4)
    .flatMap(([name = '']) => codesOf(name))
)
/** A histogram is asked for by its parts. */
const nameOf = (metric: string): string => metric.replace(/_(bucket|sum|count)$/, '')
const used = new Set(
  panels.flatMap(({ targets = [] }) =>
    targets.flatMap(({ expr }) =>
      [...expr.matchAll(/skein_\w+/g)].map(([metric]) => nameOf(metric))
    )
  )
)

describe('docs: the Grafana dashboard', () => {
  it('asks only for metrics that there are', () => {
    const unknown = [...used].filter((metric) => !listed.has(metric) && !PROCESS.includes(metric))
    expect(unknown).toEqual([])
  })

  it('shows every metric that operators are told to watch', () => {
    const signs = rowsOf(page)
      .filter((cells) => cells.length === 2)
      .flatMap(([sign = '']) => [...sign.matchAll(/skein_\w+/g)].map(([metric]) => metric))
    expect(signs.length).toBeGreaterThan(10)
    expect(signs.filter((metric) => !used.has(metric))).toEqual([])
  })

  it('says of every panel what it shows, and lays none over another', () => {
    const figures = panels.filter(({ type }) => type !== 'row')
    expect(
      figures.filter(({ description = '', title }) => description === '' || title === '')
    ).toEqual([])
    const cells = panels.flatMap(({ gridPos: { h, w, x, y } }) =>
      Array.from({ length: w * h }, (_, at) => `${x + (at % w)},${y + Math.floor(at / w)}`)
    )
    expect(new Set(cells).size).toBe(cells.length)
  })
})
