import { GOALS, moreIsBetter, type Bound, type Goal } from './goals.ts'
import { figureOf, type Figure, type RunEntry } from './results.ts'
import { median } from './stats.ts'

const OWN = 'skein'

type Figures = (cell: string, contender: string, figure: Figure) => number

/** One run in a few words. */
export function describe({ result, failed }: RunEntry): string {
  if (result === undefined) return `FAILED: ${(failed ?? '').split('\n').slice(0, 3).join(' ')}`
  const { messagesPerSecond, latencyMs, lost, idleBytes, idleCpu } = result
  return [
    messagesPerSecond === undefined ? '' : `${format(messagesPerSecond, 'messagesPerSecond')}/s`,
    latencyMs === undefined
      ? ''
      : `p50 ${format(latencyMs.p50, 'p50')} ms, p99 ${format(latencyMs.p99, 'p99')} ms`,
    idleBytes === undefined ? '' : `${format(idleBytes, 'idleBytes')} MB`,
    idleCpu === undefined ? '' : `${format(idleCpu, 'idleCpu')} % of a core`,
    lost === undefined || lost === 0 ? '' : `${lost} lost`
  ]
    .filter((part) => part !== '')
    .join(', ')
}

/** Markdown: medians of the runs, what is asked of them, and what they cost. */
export function report(entries: readonly RunEntry[]): string {
  const figures: Figures = (cell, contender, figure) =>
    median(
      entries
        .filter((entry) => entry.cell === cell && entry.contender === contender)
        .flatMap(({ result }) => (result === undefined ? [] : [figureOf(result, figure)]))
    )
  const others = namesOf(entries).filter((name) => name !== OWN)
  const goals = GOALS.filter((goal) => entries.some((entry) => entry.cell === goal.cell))
  const head = ['cell', 'figure', OWN, 'spread', 'must', 'aim', ...others]
  const rows = goals.map((goal) => [
    goal.cell,
    FIGURE_NAMES[goal.figure],
    format(figures(goal.cell, OWN, goal.figure), goal.figure),
    spread(entries, goal),
    verdict(goal, goal.must, figures),
    verdict(goal, goal.aim, figures),
    ...others.map((other) => format(figures(goal.cell, other, goal.figure), goal.figure))
  ])
  return [table(head, rows), '', table(COST_HEAD, costs(entries)), failures(entries)].join('\n')
}

const FIGURE_NAMES: Record<Figure, string> = {
  messagesPerSecond: 'messages/s',
  p50: 'p50, ms',
  p99: 'p99, ms',
  idleBytes: 'memory, MB',
  idleCpu: 'CPU, % of a core'
}

function namesOf(entries: readonly RunEntry[]): string[] {
  return [...new Set(entries.map((entry) => entry.contender))]
}

function spread(entries: readonly RunEntry[], { cell, figure }: Goal): string {
  const values = entries
    .filter((entry) => entry.cell === cell && entry.contender === OWN)
    .flatMap(({ result }) => (result === undefined ? [] : [figureOf(result, figure)]))
  if (values.length < 2) return ''
  return `${format(Math.min(...values), figure)} to ${format(Math.max(...values), figure)}`
}

/** `yes 1.12 x` or `NO 0.43 x`: what is reached of what is asked; more than 1 is good for every figure. */
function verdict({ cell, figure }: Goal, bound: Bound | undefined, figures: Figures): string {
  if (bound === undefined) return ''
  const asked = 'value' in bound ? bound.value : bound.times * figures(cell, bound.of, figure)
  const what = 'value' in bound ? format(asked, figure) : `${bound.times} x ${bound.of}`
  const own = figures(cell, OWN, figure)
  const reached = moreIsBetter(figure) ? own / asked : asked / own
  if (Number.isNaN(reached)) return what
  return `${what}: ${reached >= 1 ? 'yes' : 'NO'} (${reached.toFixed(2)})`
}

function format(value: number, figure: Figure): string {
  if (!Number.isFinite(value)) return ''
  if (figure === 'idleBytes') return (value / 1e6).toFixed(1)
  if (figure === 'idleCpu') return (value * 100).toFixed(2)
  if (figure === 'p50' || figure === 'p99') return value.toFixed(value < 10 ? 2 : 1)
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)}M`
  return value >= 1e4 ? `${(value / 1e3).toFixed(0)}k` : value.toFixed(0)
}

const COST_HEAD = [
  'cell',
  'contender',
  'CPU s per million',
  'publisher',
  'subscribers',
  'server',
  'peak MB, publisher',
  'subscriber',
  'most ahead',
  'ready ms',
  'lost',
  'duplicates'
]

/** What each contender spent: medians, losses summed. */
function costs(entries: readonly RunEntry[]): string[][] {
  const pairs = new Map(entries.map((entry) => [`${entry.cell} ${entry.contender}`, entry]))
  return [...pairs.values()].map(({ cell, contender }) => {
    const results = entries
      .filter((entry) => entry.cell === cell && entry.contender === contender)
      .flatMap(({ result }) => (result === undefined ? [] : [result]))
    const middle = (values: Array<number | undefined>, digits: number, unit = 1): string => {
      const known = values.filter((value) => value !== undefined && Number.isFinite(value))
      return known.length === 0 ? '' : (median(known as number[]) / unit).toFixed(digits)
    }
    const sum = (values: Array<number | undefined>): string =>
      String(values.reduce<number>((total, value) => total + (value ?? 0), 0))
    return [
      cell,
      contender,
      middle(
        results.map((result) => result.cpuPerMillion),
        2
      ),
      middle(
        results.map((result) => result.cpuSeconds?.publisher),
        2
      ),
      middle(
        results.map((result) => result.cpuSeconds?.subscribers),
        2
      ),
      middle(
        results.map((result) => result.cpuSeconds?.broker),
        2
      ),
      middle(
        results.map((result) => result.publisherPeakBytes),
        0,
        1e6
      ),
      middle(
        results.map((result) => result.subscriberPeakBytes),
        0,
        1e6
      ),
      middle(
        results.map((result) => result.ahead),
        0
      ),
      middle(
        results.map((result) => result.readyMs),
        0
      ),
      sum(results.map((result) => result.lost)),
      sum(results.map((result) => result.duplicates))
    ]
  })
}

function table(head: readonly string[], rows: readonly string[][]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  const rule = head.map((_name, index) => (index < 2 ? '---' : '---:'))
  return [line(head), line(rule), ...rows.map(line)].join('\n')
}

function failures(entries: readonly RunEntry[]): string {
  const failed = entries.filter((entry) => entry.failed !== undefined)
  if (failed.length === 0) return ''
  const lines = failed.map((one) => `- ${one.cell} ${one.contender}, run ${one.run}: ${one.failed}`)
  return ['', 'Failed:', '', ...lines].join('\n')
}
