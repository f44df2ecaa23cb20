import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { messageOf } from './api.ts'
import { ago, count } from './format.ts'
import type { DeadLetter, Snapshot } from './model.ts'
import { Empty, Section } from './section.tsx'
import { Table } from './table.tsx'
import type { Watch } from './watch.ts'

export interface DeadLettersProps {
  readonly now: Snapshot
  readonly watch: Pick<Watch, 'api' | 'refresh'>
}

/** Rows that are shown of one subscription; redriving all takes the others, too. */
const SHOWN = 20

/** What failed too often, to be offered again to the subscription that it failed at. */
export function DeadLetters({ now, watch }: DeadLettersProps): JSX.Element {
  const [said, setSaid] = useState<{ readonly text: string; readonly isBad: boolean }>()
  const [isBusy, setBusy] = useState(false)
  const { deadLetters } = now
  const redrive = async (
    subscription: string,
    ids: readonly string[] | undefined
  ): Promise<void> => {
    setBusy(true)
    try {
      const path = `v1/dlq/${encodeURIComponent(subscription)}/redrive`
      const { redriven } = await watch.api.postJson<{ redriven: number }>(path, { ids })
      setSaid({ text: `${count(redriven)} offered again to ${subscription}.`, isBad: false })
      watch.refresh()
    } catch (error) {
      setSaid({ text: messageOf(error), isBad: true })
    } finally {
      setBusy(false)
    }
  }
  const names = [...new Set(deadLetters.map(({ subscription }) => subscription))]
  return (
    <Section id="dead-letters" title="Dead letters" count={count(deadLetters.length)}>
      <p class={said?.isBad === true ? 'said problem' : 'said'} role="status">
        {said?.text}
      </p>
      {deadLetters.length === 0 && (
        <Empty>None. A message that a durable subscription handed over too often comes here.</Empty>
      )}
      {names.map((name) => (
        <Letters
          key={name}
          subscription={name}
          letters={deadLetters.filter(({ subscription }) => subscription === name)}
          at={now.at}
          isBusy={isBusy}
          onRedrive={(ids) => void redrive(name, ids)}
        />
      ))}
    </Section>
  )
}

interface LettersProps {
  readonly subscription: string
  readonly letters: readonly DeadLetter[]
  readonly at: number
  readonly isBusy: boolean
  /** All of them where no ids are given. */
  readonly onRedrive: (ids: readonly string[] | undefined) => void
}

function Letters({ at, isBusy, letters, onRedrive, subscription }: LettersProps): JSX.Element {
  const rest = letters.length - SHOWN
  return (
    <>
      <div class="sub-title">
        <h3>{subscription}</h3>
        {letters.length > 1 && (
          <button type="button" disabled={isBusy} onClick={() => onRedrive(undefined)}>
            Redrive all {count(letters.length)}
            <span class="visually-hidden"> of {subscription}</span>
          </button>
        )}
      </div>
      <Table
        label={`Dead letters of ${subscription}`}
        columns={['Topic', 'Reason', { number: 'Tries' }, { number: 'Age' }, { hidden: 'Action' }]}
      >
        {letters.slice(0, SHOWN).map((letter) => (
          <tr key={letter.id}>
            <th scope="row" class="wrap" title={letter.messageId}>
              {letter.topic}
            </th>
            <td class="wrap">
              {letter.reason}
              {letter.error !== undefined && <span class="dim">: {letter.error}</span>}
            </td>
            <td class="number">{letter.attempts}</td>
            <td class="number">{ago(at - Date.parse(letter.since))}</td>
            <td class="number">
              <button
                type="button"
                class="quiet"
                disabled={isBusy}
                onClick={() => onRedrive([letter.id])}
              >
                Redrive
                <span class="visually-hidden"> {letter.topic}</span>
              </button>
            </td>
          </tr>
        ))}
      </Table>
      {rest > 0 && <p class="more">and {count(rest)} more</p>}
    </>
  )
}
