import type { FaultKind } from '../scenario/contract.ts'
import type { FaultSpan, Report } from './contract.ts'
import { escape } from './escape.ts'
import { count, moment } from './figures.ts'

/** Heat levels, each for ten times as much lag at most: 1, up to 3, 10, 30, and so on. */
const LEVELS = [1, 3, 10, 30, 100, 300, 1000]

/** Height of one row of the heat map in its own units; it is stretched to the page. */
const ROW = 10

/** Faults that are drawn one by one; more are counted. */
const MOST_LANES = 40

/** Colour class of a fault: links, nodes, disks or clocks. */
const FAMILIES: Readonly<Record<FaultKind, 'cut' | 'link' | 'node' | 'disk' | 'time'>> = {
  partition: 'cut',
  isolate: 'cut',
  flap: 'cut',
  heal: 'cut',
  latency: 'link',
  loss: 'link',
  duplicate: 'link',
  reorder: 'link',
  bandwidth: 'link',
  crash: 'node',
  restart: 'node',
  pause: 'node',
  resume: 'node',
  'clock-skew': 'time',
  'disk-full': 'disk',
  'slow-disk': 'disk',
  corrupt: 'disk',
  'torn-tail': 'node',
  'lose-unsynced-writes': 'node'
}

/** Timeline, heat map and curve over one common axis of time. */
export function tracks(report: Report): string {
  return `<section class="tracks" id="tracks">
<div class="top"><h2>What happened</h2><p class="readout" id="readout">&nbsp;</p></div>
${timeline(report)}
<h3>Messages not yet delivered, by node</h3>
${heatMap(report)}
<h3>Delivered of what was owed</h3>
${curve(report)}
<div class="row axis"><span></span><div class="track">${ticks(report.simulatedMs)}</div></div>
</section>`
}

function percent(ms: number, totalMs: number): string {
  return `${Number(((100 * Math.min(ms, totalMs)) / Math.max(1, totalMs)).toFixed(3))}%`
}

function timeline({ faults, simulatedMs }: Report): string {
  if (faults.length === 0) return '<p class="calm">Nothing was broken in this run.</p>'
  const lanes = faults.slice(0, MOST_LANES).map((span) => lane(span, simulatedMs))
  const more = faults.length - lanes.length
  const rest = more > 0 ? `<p class="calm">and ${count(more)} more faults</p>` : ''
  return `<div class="lanes">${lanes.join('')}</div>${rest}`
}

function lane({ atMs, kind, text, untilMs }: FaultSpan, totalMs: number): string {
  const end = untilMs ?? totalMs
  const left = percent(atMs, totalMs)
  const width = percent(end - atMs, totalMs)
  const when = `${moment(atMs)} to ${untilMs === null ? 'the end' : moment(end)}`
  const rest = escape(text.startsWith(kind) ? text.slice(kind.length) : ` ${text}`)
  return `<div class="row lane"><span title="${escape(text)}, ${when}"><b>${kind}</b>${rest}</span><div class="track"><i class="bar ${FAMILIES[kind]}" style="left:${left};width:${width}" title="${escape(text)}, ${when}"></i></div></div>`
}

/** Where faults held, behind the other tracks. */
function shades({ faults, simulatedMs }: Report): string {
  return faults
    .slice(0, MOST_LANES)
    .map(({ atMs, untilMs }) => {
      const width = percent((untilMs ?? simulatedMs) - atMs, simulatedMs)
      return `<i class="shade" style="left:${percent(atMs, simulatedMs)};width:${width}"></i>`
    })
    .join('')
}

function heatMap(report: Report): string {
  const { lag, simulatedMs } = report
  const columns = Math.max(1, lag.values[0]?.length ?? 1)
  const cells = lag.values.flatMap((row, y) =>
    runs(row.map((value) => levelOf(value))).map(
      ({ from, level, to }) =>
        `<rect class="h${level}" x="${from}" y="${y * ROW}" width="${to - from}" height="${ROW - 1}"/>`
    )
  )
  const width = percent(columns * lag.stepMs, Math.max(simulatedMs, columns * lag.stepMs))
  const height = lag.rows.length * ROW
  const names = lag.rows.map((name) => `<span>${escape(name)}</span>`).join('')
  const dense = lag.rows.length > 30 ? ' dense' : lag.rows.length > 14 ? ' tight' : ''
  const legend = [
    '0',
    ...LEVELS.map((level, i) => (i === LEVELS.length - 1 ? `${count(level)}+` : count(level)))
  ]
  const keys = legend.map((text, level) => `<i class="k${level}"></i>${text}`).join(' ')
  return `<div class="row heat${dense}" style="--rows:${lag.rows.length}"><div class="names">${names}</div><div class="track"><svg viewBox="0 0 ${columns} ${height}" preserveAspectRatio="none" style="width:${width}" role="img" aria-label="Lag of every node over time">${cells.join('')}</svg></div></div>
<p class="legend">${keys}</p>`
}

/** 0 = nothing is missing; n = at least LEVELS[n - 1]. */
function levelOf(value: number): number {
  return LEVELS.filter((level) => value >= level).length
}

/** Neighbouring cells of one level as one; level 0 is not drawn. */
function runs(levels: readonly number[]): { from: number; to: number; level: number }[] {
  const found: { from: number; to: number; level: number }[] = []
  levels.forEach((level, x) => {
    const last = found.at(-1)
    if (last?.level === level && last.to === x) last.to = x + 1
    else if (level > 0) found.push({ from: x, to: x + 1, level })
  })
  return found
}

function curve(report: Report): string {
  const { done, owed } = report.curve
  const top = Math.max(1, ...owed)
  // A little room above, so that the end of the curve is not cut in half.
  const y = (value: number): number => Number((100 - (96 * value) / top).toFixed(2))
  const line = (values: readonly number[]): string =>
    ['0,100', ...values.map((value, i) => `${i + 1},${y(value)}`)].join(' ')
  const back = owed.map((value, i) => `${i + 1},${y(value)}`).toReversed()
  const labels = [1, 0.5, 0].map((share) => `<span>${count(Math.round(top * share))}</span>`)
  return `<div class="row curve"><div class="names">${labels.join('')}</div><div class="track">${shades(report)}<svg viewBox="0 0 ${Math.max(1, owed.length)} 100" preserveAspectRatio="none" role="img" aria-label="Hand-overs owed and done over time"><polygon class="gap" points="${line(done)} ${back.join(' ')} 0,100"/><polyline class="owed" points="${line(owed)}"/><polyline class="done" points="${line(done)}"/></svg></div></div>
<p class="legend"><i class="line owed"></i>owed <i class="line done"></i>delivered <i class="k-gap"></i>missing</p>`
}

function ticks(totalMs: number): string {
  const steps = [
    100, 500, 1000, 2000, 5000, 10_000, 20_000, 30_000, 60_000, 300_000, 600_000, 1_800_000,
    3_600_000
  ]
  const step =
    steps.find((one) => totalMs / one <= 7) ?? Math.ceil(totalMs / 7 / 3_600_000) * 3_600_000
  const places = Array.from({ length: Math.floor(totalMs / step) + 1 }, (_, i) => i * step)
  return places
    .map((ms) => {
      const edge = ms > totalMs * 0.97 ? ' class="edge"' : ''
      return `<span${edge} style="left:${percent(ms, totalMs)}">${moment(ms)}</span>`
    })
    .join('')
}
