import type { JSX } from 'preact'
import { clock, duration } from './format.ts'
import type { Snapshot } from './model.ts'
import type { Connection } from './watch.ts'

export interface HeaderProps {
  readonly connection: Connection
  readonly now: Snapshot | undefined
  /** Forgets the token; undefined where none is asked for. */
  readonly onLeave: (() => void) | undefined
}

export function Header({ connection, now, onLeave }: HeaderProps): JSX.Element {
  return (
    <header>
      <h1>
        <svg viewBox="0 0 32 32" class="mark" aria-hidden="true">
          <path class="warp" d="M4 22C10 22 11 10 16 10s6 12 12 12" />
          <path class="weft" d="M4 10c6 0 7 12 12 12s6-12 12-12" />
        </svg>
        <span class="visually-hidden">Skein node </span>
        {now?.status.name ?? 'Skein'}
      </h1>
      {now !== undefined && (
        <dl class="facts">
          <Fact name="mesh" value={now.status.mesh} />
          <Fact name="version" value={now.status.version} />
          <Fact name="up" value={duration(now.at - Date.parse(now.status.startedAt))} />
        </dl>
      )}
      <p class={`connection ${connection.kind}`} role="status">
        <span class="dot" aria-hidden="true" />
        {connectionText(connection)}
      </p>
      {onLeave !== undefined && (
        <button type="button" class="quiet" onClick={onLeave}>
          Forget token
        </button>
      )}
    </header>
  )
}

function Fact({ name, value }: { name: string; value: string }): JSX.Element {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  )
}

function connectionText(connection: Connection): string {
  switch (connection.kind) {
    case 'live':
      return 'Live'
    case 'lost':
      return `No answer since ${clock(connection.since, Date.now())}`
    case 'connecting':
    case 'locked':
      return 'Connecting'
  }
}
