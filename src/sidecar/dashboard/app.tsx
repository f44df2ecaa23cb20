import type { JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { alertsOf } from './alerts.ts'
import { Attention } from './attention.tsx'
import { DeadLetters } from './dead-letters.tsx'
import { Groups } from './groups.tsx'
import { Header } from './header.tsx'
import { NodeFigures } from './node-figures.tsx'
import { Outbox } from './outbox.tsx'
import { Publish } from './publish.tsx'
import { SignIn } from './sign-in.tsx'
import { Subscribers } from './subscribers.tsx'
import { Tail } from './tail.tsx'
import { dropToken, keepToken, takeToken } from './token.ts'
import { Topics } from './topics.tsx'
import { Topology } from './topology.tsx'
import { Watch } from './watch.ts'
import type { WatchState } from './watch.ts'

export function App(): JSX.Element {
  const [token, setToken] = useState(takeToken)
  useEffect(() => {
    // The link of another start, pasted over this page.
    const onHash = (): void => setToken(takeToken())
    addEventListener('hashchange', onHash)
    return () => removeEventListener('hashchange', onHash)
  }, [])
  const enter = (given: string): void => {
    keepToken(given)
    setToken(given)
  }
  const leave = (): void => {
    dropToken()
    setToken(undefined)
  }
  return <Session key={token ?? ''} token={token} onToken={enter} onLeave={leave} />
}

interface SessionProps {
  readonly token: string | undefined
  readonly onToken: (token: string) => void
  readonly onLeave: () => void
}

/** The page with one token, from its first look to the next token. */
function Session({ onLeave, onToken, token }: SessionProps): JSX.Element {
  const [watch] = useState(() => new Watch(token))
  const [state, setState] = useState<WatchState>(watch.state)
  useEffect(() => {
    const end = watch.subscribe(() => setState(watch.state))
    watch.start()
    return () => {
      end()
      watch.stop()
    }
  }, [watch])
  const { connection, history, now } = state
  const alerts = now === undefined ? [] : alertsOf(history, now)
  useEffect(() => {
    document.title = titleOf(connection.kind, alerts.length, now?.status.name)
  })
  if (connection.kind === 'locked') return <SignIn reason={connection.reason} onToken={onToken} />
  return (
    <>
      <a class="skip" href="#attention">
        Skip to what needs attention
      </a>
      <Header
        connection={connection}
        now={now}
        onLeave={token === undefined ? undefined : onLeave}
      />
      <main>
        <Attention connection={connection} alerts={alerts} isKnown={now !== undefined} />
        {now !== undefined && (
          <div class={connection.kind === 'lost' ? 'content stale' : 'content'}>
            <NodeFigures history={history} now={now} />
            <div class="row">
              <Topology now={now} />
              <div class="stack">
                <Subscribers history={history} now={now} />
                <Groups groups={now.groups} />
                <Outbox now={now} />
              </div>
            </div>
            <div class="row">
              <Topics history={history} now={now} />
              <DeadLetters now={now} watch={watch} />
            </div>
            <div class="row">
              <Tail now={now} watch={watch} />
              <Publish now={now} watch={watch} />
            </div>
          </div>
        )}
      </main>
    </>
  )
}

function titleOf(kind: string, alerts: number, name: string | undefined): string {
  const node = name === undefined ? 'Skein' : `${name} · Skein`
  if (kind === 'lost') return `✕ ${node}`
  return alerts === 0 ? node : `(${alerts}) ${node}`
}
