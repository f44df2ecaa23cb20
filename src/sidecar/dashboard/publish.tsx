import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { messageOf } from './api.ts'
import type { Snapshot } from './model.ts'
import { Section } from './section.tsx'
import type { Watch } from './watch.ts'

export interface PublishProps {
  readonly now: Snapshot
  readonly watch: Pick<Watch, 'api'>
}

/** Publishes one message from this node. */
export function Publish({ now, watch }: PublishProps): JSX.Element {
  const [topic, setTopic] = useState('')
  const [payload, setPayload] = useState('')
  const [key, setKey] = useState('')
  const [said, setSaid] = useState<{ readonly text: string; readonly isBad: boolean }>()
  const [isBusy, setBusy] = useState(false)
  const publish = async (event: Event): Promise<void> => {
    event.preventDefault()
    setBusy(true)
    try {
      const response = await watch.api.call(`v1/publish?topic=${encodeURIComponent(topic)}`, {
        method: 'POST',
        body: payload,
        headers: {
          'content-type': isJson(payload) ? 'application/json' : 'text/plain',
          ...(key === '' ? {} : { 'skein-key': headerText(key) })
        }
      })
      const { sequence } = (await response.json()) as { sequence: number }
      setSaid({ text: `Stored, with sequence ${sequence}.`, isBad: false })
    } catch (error) {
      setSaid({ text: messageOf(error), isBad: true })
    } finally {
      setBusy(false)
    }
  }
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) void publish(event)
  }
  return (
    <Section id="publish" title="Publish">
      <form class="publish" onSubmit={(event) => void publish(event)} onKeyDown={onKeyDown}>
        <div class="pair">
          <Field name="topic" label="Topic" value={topic} onValue={setTopic} />
          <Field name="key" label="Key, if any" value={key} onValue={setKey} />
        </div>
        <label for="publish-payload">Payload, sent as JSON where it is JSON, else as text</label>
        <textarea
          id="publish-payload"
          rows={4}
          value={payload}
          spellcheck={false}
          onInput={(event) => setPayload(event.currentTarget.value)}
        />
        <div class="actions">
          <button type="submit" disabled={isBusy}>
            Publish
          </button>
          <p class={said?.isBad === true ? 'said problem' : 'said'} role="status">
            {said?.text ?? <span class="dim">Ctrl + Enter</span>}
          </p>
        </div>
      </form>
      <datalist id="known-topics">
        {now.topics.map(({ channel }) => (
          <option key={channel} value={`${channel}/`} />
        ))}
      </datalist>
    </Section>
  )
}

interface FieldProps {
  readonly name: 'topic' | 'key'
  readonly label: string
  readonly value: string
  readonly onValue: (value: string) => void
}

function Field({ label, name, onValue, value }: FieldProps): JSX.Element {
  const isTopic = name === 'topic'
  return (
    <div>
      <label for={`publish-${name}`}>{label}</label>
      <input
        id={`publish-${name}`}
        type="text"
        value={value}
        required={isTopic}
        autocomplete="off"
        spellcheck={false}
        {...(isTopic ? { list: 'known-topics', placeholder: 'demo/hello' } : {})}
        onInput={(event) => onValue(event.currentTarget.value)}
      />
    </div>
  )
}

/** A header is bytes: those of UTF-8, one in each character. */
function headerText(text: string): string {
  return String.fromCodePoint(...new TextEncoder().encode(text))
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    // Not JSON is text.
    return false
  }
}
