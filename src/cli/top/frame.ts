import { bytesText } from '../units.ts'
import { type Page, agoText, pagesOf, rateText } from './pages.ts'
import type { Sample } from './snapshot.ts'
import { type Line, type Span, columnsOf } from './styled-line.ts'

/** What is to be seen. */
export interface View {
  /** Undefined until the node has answered once. */
  readonly sample: Sample | undefined
  /** Why the node does not answer now. */
  readonly fault: string | undefined
  readonly page: number
  /** Rows of the page above the first one that is seen. */
  readonly scroll: number
}

export interface Size {
  readonly columns: number
  readonly rows: number
}

const SEPARATOR: Span = { text: ' · ', style: 'dim' }

function joined(spans: ReadonlyArray<Span | undefined>): Line {
  const shown = spans.filter((span) => span !== undefined)
  return shown.flatMap((span, i) => (i === 0 ? [span] : [SEPARATOR, span]))
}

/** Three lines of what matters most. */
function header({ at, rates, snapshot }: Sample): Line[] {
  const { deadLetters, peers, status, topics } = snapshot
  const { store } = status
  const down = peers.filter(({ state }) => state === 'down').length
  const gaps = topics.flatMap(({ logs }) => logs).filter(({ missing }) => missing.length > 0).length
  const off = status.subscribers.filter(({ lag, state }) => state === 'down' && lag > 0).length
  const letters = deadLetters.length
  const isTight = store.freeBytes !== undefined && store.freeBytes < 2 * store.reserveBytes
  return [
    joined([
      { text: status.name, style: 'title' },
      { text: `mesh ${status.mesh}${status.networkKeyId === undefined ? ' (open)' : ''}` },
      status.ready ? { text: 'ready', style: 'good' } : { text: 'NOT READY', style: 'bad' },
      { text: `up ${agoText(status.startedAt, at)}` },
      { text: `skein ${status.version}` }
    ]),
    joined([
      { text: `peers ${status.peers.connected} connected` },
      down === 0 ? undefined : { text: `${down} down`, style: 'bad' },
      { text: `store ${store.condition}`, style: store.condition === 'open' ? undefined : 'bad' },
      { text: `${bytesText(store.bytes)} in ${store.records.toLocaleString('en-US')} records` },
      store.freeBytes === undefined
        ? { text: 'in memory' }
        : { text: `${bytesText(store.freeBytes)} free`, style: isTight ? 'bad' : undefined }
    ]),
    joined([
      { text: `published ${rateText(rates?.published)}` },
      { text: `delivered ${rateText(rates?.delivered)}` },
      { text: `outbox ${status.outbox}` },
      letters === 0 ? undefined : { text: `dead letters ${letters}`, style: 'bad' },
      gaps === 0 ? undefined : { text: `${gaps} logs with gaps`, style: 'warn' },
      off === 0 ? undefined : { text: `${off} subscribers off and behind`, style: 'bad' }
    ])
  ]
}

function tabs(pages: readonly Page[], chosen: number): Line {
  return pages.map(({ rows, title, total }, i): Span => {
    const name = `${title} ${total ?? rows.length}`
    return i === chosen ? { text: `[${name}]`, style: 'chosen' } : { text: ` ${name} ` }
  })
}

/** Heads and rows. */
function pageLines({ empty, heads, rows }: Page): Line[] {
  if (rows.length === 0) return [[{ text: empty, style: 'dim' }]]
  return columnsOf(heads, rows)
}

/** Rows of a list that fit: header, an empty line, tabs, heads and footer take the rest. */
const roomFor = ({ rows }: Size): number => Math.max(0, rows - 7)

/** How far the list can be scrolled. */
export function scrollRoom({ page, sample }: View, size: Size): number {
  if (sample === undefined) return 0
  return Math.max(0, (pagesOf(sample)[page]?.rows.length ?? 0) - roomFor(size))
}

/** Exactly `size.rows` lines. */
export function frameOf(view: View, size: Size): Line[] {
  const { fault, page, sample } = view
  const lines: Line[] = []
  if (sample !== undefined) {
    const pages = pagesOf(sample)
    const shown = pages[page]
    const [heads = [], ...rows] = shown === undefined ? [] : pageLines(shown)
    const from = Math.min(view.scroll, scrollRoom(view, size))
    const part = rows.slice(from, from + roomFor(size))
    lines.push(...header(sample), [], tabs(pages, page), heads, ...part)
  }
  const footer: Span =
    fault === undefined
      ? { text: 'q quit · tab ← → page · ↑ ↓ scroll', style: 'dim' }
      : { text: `${fault}; trying again · q quit`, style: 'bad' }
  const height = Math.max(0, size.rows - 1)
  const blank = Array.from({ length: Math.max(0, height - lines.length) }, (): Line => [])
  return [...lines.slice(0, height), ...blank, [footer]]
}

/** Everything, one list below the other. */
export function reportOf(sample: Sample): Line[] {
  const pages = pagesOf(sample)
  return [
    ...header(sample),
    ...pages.flatMap((page): Line[] => [
      [],
      [{ text: page.title, style: 'title' }],
      ...pageLines(page)
    ])
  ]
}
