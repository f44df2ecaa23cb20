import { createHash } from 'node:crypto'
import type { ExplainedViolation } from '../checkers/history.ts'
import type { Report } from './contract.ts'
import { escape } from './escape.ts'
import { convergenceText, count, mib, time } from './figures.ts'
import { SCRIPT } from './html-script.ts'
import { STYLE } from './html-style.ts'
import { topology } from './html-topology.ts'
import { tracks } from './html-tracks.ts'
import { RULE_TEXTS } from './rule-texts.ts'

/** One HTML page that needs nothing but itself: no request leaves it, and its policy forbids any. */
export function reportHtml(report: Report): string {
  const verdict = report.ok ? 'holds' : `${count(report.violationCount)} violations`
  const blocks = [header(report), figures(report), rules(report), tracks(report), topology(report)]
  const policy = `default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-${digest(SCRIPT)}'`
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>${escape(report.scenario)}, seed ${report.seed}: ${verdict}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
${blocks.filter((block) => block !== undefined).join('\n')}
${report.traceHash === null ? '' : `<footer>Trace ${report.traceHash}</footer>`}
</main>
<script type="application/json" id="data">${embedded(report)}</script>
<script>${SCRIPT}</script>
</body>
</html>
`
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('base64')
}

/** What the page's own script needs. No `<` may stand in it: the page would end there. */
function embedded({ curve, lag, replay, simulatedMs }: Report): string {
  const data = { owed: curve.owed, done: curve.done, step: lag.stepMs, total: simulatedMs, replay }
  return JSON.stringify(data).replaceAll('<', '\\u003c')
}

function header(report: Report): string {
  const { description, ok, replay, runs, scenario, seed, tier, violationCount } = report
  const broken = violationCount === 1 ? '1 violation' : `${count(violationCount)} violations`
  const where = tier === 'virtual' ? 'virtual time' : 'real processes'
  const many = runs > 1 ? ` &middot; ${count(runs)} runs` : ''
  return `<header>
<div><p class="eyebrow">Skein simulation &middot; seed ${seed} &middot; ${where}${many}</p>
<h1>${escape(scenario)}</h1><p class="about">${escape(description)}</p></div>
<p class="verdict ${ok ? 'holds' : 'broken'}">${ok ? 'Everything holds' : broken}</p>
<div class="replay"><code>${escape(replay)}</code><button type="button" id="copy">Copy</button></div>
</header>`
}

interface Figure {
  readonly name: string
  readonly value: string
  readonly more?: string | undefined
  readonly wrong?: boolean
}

function figures(report: Report): string {
  const { delivered, duplicated, latency, lost, outOfOrder, published } = report
  const { rejected, simulatedMs, wallMs } = report
  const peak = Math.max(0, ...Object.values(report.memoryPeaks))
  const speed = wallMs > 0 ? `${count(Math.round(simulatedMs / wallMs))} times as fast` : undefined
  const list: readonly Figure[] = [
    {
      name: 'Nodes',
      value: count(report.nodes.length),
      more: peak > 0 ? `${mib(peak)} each at most` : undefined
    },
    {
      name: 'Published',
      value: count(published),
      more: rejected > 0 ? `${count(rejected)} refused` : 'confirmed'
    },
    {
      name: 'Delivered',
      value: count(delivered),
      more: latency === null ? undefined : `p50 ${time(latency.p50Ms)}, p99 ${time(latency.p99Ms)}`
    },
    { name: 'Lost', value: count(lost), wrong: lost > 0 },
    { name: 'Duplicated', value: count(duplicated), wrong: duplicated > 0 },
    { name: 'Out of order', value: count(outOfOrder), wrong: outOfOrder > 0 },
    {
      name: 'Convergence',
      value: convergenceText(report),
      more: 'longest after a heal'
    },
    { name: 'Simulated', value: time(simulatedMs), more: speed }
  ]
  const items = list.map(({ more, name, value, wrong }) => {
    const small = more === undefined ? '' : `<small>${more}</small>`
    return `<div${wrong === true ? ' class="wrong"' : ''}><dt>${name}</dt><dd>${value}${small}</dd></div>`
  })
  return `<dl class="figures">${items.join('')}</dl>`
}

function rules(report: Report): string {
  const items = report.rules.map(({ checked, rule, violations }) => {
    const text = RULE_TEXTS[rule] ?? rule
    if (!checked) return `<li class="skip">${text} (not asked for)</li>`
    return violations === 0
      ? `<li>${text}</li>`
      : `<li class="no"><span>${text}: <b>${count(violations)}</b></span></li>`
  })
  return `<section class="violations"><h2>What must hold</h2><ul class="rules">${items.join('')}</ul>${violations(report)}</section>`
}

function violations({ rules: all, violations: shown }: Report): string {
  const groups = all
    .filter(({ violations: found }) => found > 0)
    .map(({ rule, violations: found }) => {
      const some = shown.filter(({ checker }) => checker === rule)
      const most =
        found > some.length ? ` <small>the first ${some.length} of ${count(found)}</small>` : ''
      return `<h4>${RULE_TEXTS[rule] ?? rule}${most}</h4>${some.map(explained).join('')}`
    })
  return groups.join('')
}

function explained({ history, id, subscription, what }: ExplainedViolation, i: number): string {
  const lines = history.map((line) => {
    const own = id !== '' && line.includes(id) ? 'own' : ''
    const kind = /^ *[\d.]+ s {2}(fault|heal|stopped) /.test(line) ? 'fault' : own
    return kind === '' ? escape(line) : `<span class="${kind}">${escape(line)}</span>`
  })
  const past = lines.length > 0 ? `<pre>${lines.join('\n')}</pre>` : ''
  return `<details${i === 0 ? ' open' : ''}><summary><b>${escape(subscription)}</b> ${escape(what)} <span>${escape(id)}</span></summary>${past}</details>`
}
