import type { JSX } from 'preact'
import type { Alert, Severity } from './alerts.ts'
import type { Connection } from './watch.ts'

export interface AttentionProps {
  readonly connection: Connection
  readonly alerts: readonly Alert[]
  /** The node has answered once. */
  readonly isKnown: boolean
}

const MARKS: Readonly<Record<Severity, readonly [string, string]>> = {
  critical: ['✕', 'Critical: '],
  warning: ['!', 'Warning: '],
  notice: ['i', 'Note: ']
}

/** In one glance: what is wrong, or that nothing is. */
export function Attention({ alerts, connection, isKnown }: AttentionProps): JSX.Element | null {
  if (connection.kind === 'lost') {
    const shown: Alert = {
      severity: 'critical',
      text: 'The node does not answer',
      detail: `${connection.why === '' ? 'It has stopped, or the network is cut.' : connection.why} This page goes on by itself when it is back${isKnown ? '; until then it shows what was' : ''}.`,
      section: ''
    }
    return <List alerts={[shown]} />
  }
  if (!isKnown) return null
  if (alerts.some(({ severity }) => severity !== 'notice')) return <List alerts={alerts} />
  return (
    <List
      alerts={alerts}
      lead={
        <li class="fine">
          <span class="mark" aria-hidden="true">
            ✓
          </span>
          <strong>All is well</strong>
        </li>
      }
    />
  )
}

function List({ alerts, lead }: { alerts: readonly Alert[]; lead?: JSX.Element }): JSX.Element {
  return (
    <ul class="attention" id="attention" tabIndex={-1} aria-label="What needs attention">
      {lead}
      {alerts.map(({ detail, section, severity, text }) => (
        <li key={text} class={severity}>
          <span class="mark" aria-hidden="true">
            {MARKS[severity][0]}
          </span>
          <span class="visually-hidden">{MARKS[severity][1]}</span>
          {section === '' ? <strong>{text}</strong> : <a href={`#${section}`}>{text}</a>}
          <span class="detail">{detail}</span>
        </li>
      ))}
    </ul>
  )
}
