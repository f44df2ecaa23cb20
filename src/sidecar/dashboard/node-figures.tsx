import type { ComponentChildren, JSX } from 'preact'
import { bytes, count, rate } from './format.ts'
import type { Snapshot } from './model.ts'
import { rateOf, ratesOf } from './rates.ts'
import type { Sample } from './sample.ts'
import { Sparkline } from './sparkline.tsx'

export interface NodeFiguresProps {
  readonly history: readonly Sample[]
  readonly now: Snapshot
}

const published = (sample: Sample): number => sample.published
const delivered = (sample: Sample): number => sample.delivered

/** The node in one line of figures. */
export function NodeFigures({ history, now }: NodeFiguresProps): JSX.Element {
  const { deadLetters, peers, status } = now
  const { store } = status
  const up = peers.filter(({ state }) => state === 'up').length
  const isTight = store.freeBytes !== undefined && store.freeBytes < 2 * store.reserveBytes
  return (
    <section id="node" class="figures" aria-label="This node" tabIndex={-1}>
      <Figure
        name="Peers up"
        value={`${up}`}
        unit={`of ${peers.length}`}
        isBad={up < peers.length}
      />
      <Figure name="Published" value={shown(rateOf(history, published))} unit="/s">
        <Sparkline values={ratesOf(history, published)} />
      </Figure>
      <Figure name="Delivered" value={shown(rateOf(history, delivered))} unit="/s">
        <Sparkline values={ratesOf(history, delivered)} />
      </Figure>
      <Figure name="Store" value={bytes(store.bytes)} isBad={store.condition !== 'open'}>
        {store.condition === 'open' ? `${count(store.records)} records` : store.condition}
      </Figure>
      <Figure
        name="Disk free"
        value={store.freeBytes === undefined ? 'in memory' : bytes(store.freeBytes)}
        isBad={isTight}
      >
        {store.freeBytes === undefined
          ? 'ends with the node'
          : `reserve ${bytes(store.reserveBytes)}`}
      </Figure>
      <Figure name="Outbox" value={count(status.outbox)}>
        to single peers
      </Figure>
      <Figure name="Dead letters" value={count(deadLetters.length)} isBad={deadLetters.length > 0}>
        to redrive
      </Figure>
      <Figure name="Event loop" value={loop(now.loopDelay)} unit="ms">
        p99 delay
      </Figure>
    </section>
  )
}

interface FigureProps {
  readonly name: string
  readonly value: string
  readonly unit?: string
  readonly isBad?: boolean
  readonly children?: ComponentChildren
}

function Figure({ children, isBad = false, name, unit, value }: FigureProps): JSX.Element {
  return (
    <div class={isBad ? 'figure bad' : 'figure'}>
      <h3>{name}</h3>
      <p class="value">
        {value}
        {unit !== undefined && <span class="unit"> {unit}</span>}
      </p>
      <div class="below">{children}</div>
    </div>
  )
}

function shown(value: number | undefined): string {
  return value === undefined ? '–' : rate(value)
}

function loop(delay: number | undefined): string {
  return delay === undefined ? '–' : (delay * 1000).toFixed(delay < 0.1 ? 1 : 0)
}
