import type { JSX } from 'preact'
import { useState } from 'preact/hooks'

export interface SignInProps {
  readonly reason: 'missing' | 'wrong'
  readonly onToken: (token: string) => void
}

export function SignIn({ onToken, reason }: SignInProps): JSX.Element {
  const [text, setText] = useState('')
  const submit = (event: Event): void => {
    event.preventDefault()
    const token = text.trim()
    if (token !== '') onToken(token)
  }
  return (
    <main class="sign-in">
      <form onSubmit={submit}>
        <h1>Skein</h1>
        {reason === 'wrong' && (
          <p role="alert" class="problem">
            The node does not take this token. It makes a new one at each start, unless it has a
            token file.
          </p>
        )}
        <label for="token">API token</label>
        <input
          id="token"
          type="password"
          autocomplete="off"
          spellcheck={false}
          value={text}
          aria-describedby="token-help"
          ref={(input) => input?.focus()}
          onInput={(event) => setText(event.currentTarget.value)}
        />
        <button type="submit">Open</button>
        <p id="token-help" class="hint">
          It is in <code>api.json</code> in the node’s data directory; <code>skein start</code>{' '}
          prints a link with it on a terminal. This tab keeps it until you close it.
        </p>
      </form>
    </main>
  )
}
