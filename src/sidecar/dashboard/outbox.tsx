import type { JSX } from 'preact'
import { ago, bytes, nameOf } from './format.ts'
import type { Snapshot } from './model.ts'
import { Empty, Section } from './section.tsx'
import { Table } from './table.tsx'

/** Rows that are shown; the rest is counted. */
const SHOWN = 20

/** What waits for whom. */
export function Outbox({ now }: { now: Snapshot }): JSX.Element {
  const { at, outbox } = now
  const rest = outbox.length - SHOWN
  return (
    <Section id="outbox" title="Outbox" count={String(outbox.length)}>
      {outbox.length === 0 ? (
        <Empty>
          Nothing waits for its recipient. <code>skein send ben alerts 'hello'</code> sends to one
          node, on or off.
        </Empty>
      ) : (
        <Table
          label="Outbox"
          columns={[
            'To',
            'Topic',
            { number: 'Size', isMinor: true },
            { number: 'Waits' },
            { number: 'Ends in' },
            { number: 'Copies' }
          ]}
        >
          {outbox.slice(0, SHOWN).map((entry) => (
            <tr key={entry.id}>
              <th scope="row" title={entry.to}>
                {nameOf(entry.to, entry.toName)}
              </th>
              <td class="wrap">{entry.topic}</td>
              <td class="number minor">{bytes(entry.bytes)}</td>
              <td class="number">{ago(at - Date.parse(entry.since))}</td>
              <td class="number">{ago(Date.parse(entry.expiresAt) - at)}</td>
              <td class="number">{entry.custodians.length}</td>
            </tr>
          ))}
        </Table>
      )}
      {rest > 0 && <p class="more">and {rest} more</p>}
    </Section>
  )
}
