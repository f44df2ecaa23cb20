import type { JSX } from 'preact'
import { useEffect, useReducer, useState } from 'preact/hooks'
import { clock, count } from './format.ts'
import { LiveTail, TAIL_ROWS } from './live-tail.ts'
import type { TailRow, TailState } from './live-tail.ts'
import type { Snapshot } from './model.ts'
import { Section } from './section.tsx'
import type { Watch } from './watch.ts'

export interface TailProps {
  readonly now: Snapshot
  readonly watch: Pick<Watch, 'api'>
}

/** Messages of any filter, as they come. */
export function Tail({ now, watch }: TailProps): JSX.Element {
  const [, redraw] = useReducer((draws: number) => draws + 1, 0)
  const [tail] = useState(() => new LiveTail(watch.api, () => redraw(undefined)))
  const [filter, setFilter] = useState('')
  useEffect(() => () => tail.stop(), [tail])
  const { state } = tail
  const isRunning = state.filter !== undefined
  const submit = (event: Event): void => {
    event.preventDefault()
    if (isRunning) tail.stop()
    else tail.start(filter.trim() === '' ? '#' : filter.trim())
  }
  return (
    <Section id="tail" title="Live messages" aside={wordsOf(state)}>
      <form class="tail" onSubmit={submit}>
        <label for="tail-filter" class="visually-hidden">
          Topic filter
        </label>
        <input
          id="tail-filter"
          value={filter}
          list="known-filters"
          placeholder="Topic filter, like orders/#"
          disabled={isRunning}
          autocomplete="off"
          spellcheck={false}
          onInput={(event) => setFilter(event.currentTarget.value)}
        />
        <button type="submit">{isRunning ? 'Stop' : 'Watch'}</button>
        <button
          type="button"
          disabled={!isRunning}
          aria-pressed={state.isPaused}
          onClick={() => tail.pause(!state.isPaused)}
        >
          {state.isPaused ? 'Go on' : 'Pause'}
        </button>
        <button type="button" disabled={state.rows.length === 0} onClick={() => tail.clear()}>
          Clear
        </button>
      </form>
      <datalist id="known-filters">
        {now.topics.map(({ channel }) => (
          <option key={channel} value={`${channel}/#`} />
        ))}
      </datalist>
      {state.problem !== '' && (
        <p class="problem inset" role="alert">
          {state.problem}
        </p>
      )}
      <Rows state={state} at={now.at} />
    </Section>
  )
}

function Rows({ at, state }: { state: TailState; at: number }): JSX.Element {
  if (state.rows.length === 0) {
    return (
      <p class="empty">
        {state.filter === undefined
          ? 'Shows what is published from now on. While you watch, this node is a member of the channels of the filter.'
          : `Nothing yet at ${state.filter}. What is published from now on comes here.`}
      </p>
    )
  }
  return (
    <div class="messages" tabIndex={0} role="log" aria-live="off" aria-label="Live messages">
      {state.rows.map((row) => (
        <Message key={row.key} row={row} at={at} />
      ))}
    </div>
  )
}

function Message({ at, row }: { row: TailRow; at: number }): JSX.Element {
  const time = clock(Date.parse(row.time), at)
  if (row.isNote) return <p class="note">{`${row.text}, ${time}`}</p>
  return (
    <details class="message">
      <summary>
        <time>{time}</time>
        <span class="topic">{row.topic}</span>
        <code>{row.text}</code>
      </summary>
      <pre>{row.text}</pre>
    </details>
  )
}

function wordsOf({ filter, isPaused, passed, received, rows }: TailState): string {
  if (filter === undefined && received === 0) return ''
  const parts = [`${count(received)} received`]
  if (received > TAIL_ROWS && rows.length === TAIL_ROWS) parts.push(`the last ${TAIL_ROWS} shown`)
  if (passed > 0) parts.push(`${count(passed)} passed over`)
  if (isPaused) parts.push('paused')
  return parts.join(', ')
}
