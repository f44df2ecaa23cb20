import type { Report } from './contract.ts'
import { convergenceText, count, mib, moment, time } from './figures.ts'
import { RULE_TEXTS } from './rule-texts.ts'

export interface TableOptions {
  /** True only where standard output is a terminal and NO_COLOR is not set. Default false. */
  readonly color?: boolean
  /** Violations shown with their history. Default 3. */
  readonly violations?: number
}

type Paint = (code: number, text: string) => string

/** A report for the terminal: verdict, figures, rules, faults, and the first violations with their history. */
export function formatTable(
  report: Report,
  { color = false, violations = 3 }: TableOptions = {}
): string {
  const paint: Paint = (code, text) => (color ? `\u001b[${code}m${text}\u001b[0m` : text)
  const blocks = [
    head(report, paint),
    pairs(figures(report), paint),
    rules(report, paint),
    faults(report, paint),
    ...report.violations.slice(0, violations).map((violation) => explained(violation, paint)),
    foot(report, paint, violations)
  ]
  return `${blocks.filter((block) => block !== '').join('\n\n')}\n`
}

function head({ description, ok, scenario, seed, violationCount }: Report, paint: Paint): string {
  const broken = `${count(violationCount)} violation${violationCount === 1 ? '' : 's'}`
  const verdict = ok ? paint(32, '✓ holds') : paint(31, `✗ ${broken}`)
  return `${paint(1, scenario)}  seed ${seed}  ${verdict}\n${paint(2, description)}`
}

function figures(report: Report): ReadonlyArray<readonly [string, string]> {
  const { latency, simulatedMs, tier, traceHash, wallMs } = report
  const speed = wallMs > 0 ? `, ${count(Math.round(simulatedMs / wallMs))} times as fast` : ''
  const peak = Math.max(0, ...Object.values(report.memoryPeaks))
  return [
    ['nodes', count(report.nodes.length)],
    ['published', withMore(report.published, report.rejected, 'refused')],
    ['delivered', count(report.delivered)],
    ['lost', count(report.lost)],
    ['duplicated', count(report.duplicated)],
    ['out of order', count(report.outOfOrder)],
    ['convergence', convergenceText(report)],
    [
      'latency',
      latency === null ? '\u2013' : `p50 ${time(latency.p50Ms)}, p99 ${time(latency.p99Ms)}`
    ],
    ...(peak > 0 ? [['memory', `${mib(peak)} at most`] as const] : []),
    [
      'time',
      tier === 'virtual'
        ? `${time(simulatedMs)} simulated in ${time(wallMs)}${speed}`
        : time(wallMs)
    ],
    ...(report.runs > 1 ? [['runs', runsText(report)] as const] : []),
    ...(traceHash === null ? [] : [['trace', traceHash.slice(0, 16)] as const])
  ]
}

function withMore(value: number, more: number, what: string): string {
  return more === 0 ? count(value) : `${count(value)}, ${count(more)} ${what}`
}

function pairs(rows: ReadonlyArray<readonly [string, string]>, paint: Paint): string {
  const width = Math.max(...rows.map(([name]) => name.length))
  return rows.map(([name, value]) => `  ${paint(2, name.padEnd(width))}  ${value}`).join('\n')
}

function rules(report: Report, paint: Paint): string {
  return report.rules
    .filter(({ checked }) => checked)
    .map(({ rule, violations }) => {
      const text = RULE_TEXTS[rule] ?? rule
      return violations === 0
        ? `  ${paint(32, '✓')} ${text}`
        : `  ${paint(31, '✗')} ${text}: ${paint(31, count(violations))}`
    })
    .join('\n')
}

function faults({ faults: spans }: Report, paint: Paint): string {
  const times = spans.map(
    ({ atMs, untilMs }) => `${moment(atMs)} to ${untilMs === null ? 'the end' : moment(untilMs)}`
  )
  const width = Math.max(0, ...times.map(({ length }) => length))
  const lines = spans.map(
    ({ text }, i) => `  ${paint(2, (times[i] ?? '').padEnd(width))}  ${paint(33, text)}`
  )
  const shown = lines.slice(0, 12)
  if (lines.length > shown.length) shown.push(`  ... ${lines.length - shown.length} more faults`)
  return shown.join('\n')
}

function explained(violation: Report['violations'][number], paint: Paint): string {
  const { checker, history, id, subscription, what } = violation
  const lines = [`${paint(31, checker)}  ${subscription}: ${what}`]
  if (id !== '') lines.push(`  ${id}`)
  return [...lines, ...history.map((line) => `  ${paint(2, line)}`)].join('\n')
}

function foot({ ok, replay, violationCount }: Report, paint: Paint, shown: number): string {
  if (ok) return ''
  const more = violationCount - shown
  const rest = more > 0 ? `... ${count(more)} more violations\n` : ''
  return `${rest}Replay: ${paint(1, replay)}`
}

function runsText({ allRuns: { simulatedMs, wallMs }, runs, tier }: Report): string {
  if (tier === 'real') return `${count(runs)} in ${time(wallMs)}`
  const speed = count(Math.round(simulatedMs / Math.max(1, wallMs)))
  return `${count(runs)}: ${time(simulatedMs)} simulated in ${time(wallMs)}, ${speed} times as fast`
}
