import type { JSX } from 'preact'
import { bytes, count, nameOf, rate } from './format.ts'
import type { Snapshot, Topic } from './model.ts'
import { messagesOf, rateOf, ratesOf } from './rates.ts'
import type { Sample } from './sample.ts'
import { Empty, Section } from './section.tsx'
import { Table } from './table.tsx'
import { Sparkline } from './sparkline.tsx'

export interface TopicsProps {
  readonly history: readonly Sample[]
  readonly now: Snapshot
}

/** The channels of this node, and what comes in. */
export function Topics({ history, now }: TopicsProps): JSX.Element {
  const { peers, status, topics } = now
  const names = new Map([...peers, status].map(({ name, peerId }) => [peerId, name]))
  return (
    <Section id="topics" title="Channels" count={String(topics.length)}>
      {topics.length === 0 ? (
        <Empty>
          Nothing was published or subscribed to here yet. A channel is the first level of a topic:
          publish to <code>demo/hello</code> below, and <code>demo</code> is one.
        </Empty>
      ) : (
        <Table
          label="Channels"
          columns={[
            'Channel',
            { number: 'Messages /s' },
            { hidden: 'Trend', isMinor: true },
            { number: 'Held' },
            { number: 'Size', isMinor: true },
            { number: 'Members', isMinor: true },
            { number: 'Missing' }
          ]}
        >
          {topics.toSorted(own).map((topic) => (
            <Row key={topic.channel} topic={topic} history={history} names={names} />
          ))}
        </Table>
      )}
    </Section>
  )
}

interface RowProps {
  readonly history: readonly Sample[]
  readonly topic: Topic
  /** Of nodes, by PeerId. */
  readonly names: ReadonlyMap<string, string | undefined>
}

function Row({ history, names, topic }: RowProps): JSX.Element {
  const messages = messagesOf(topic.channel)
  const now = rateOf(history, messages)
  const missing = missingIn(topic)
  return (
    <tr>
      <th scope="row" class="wrap" title={topic.channel}>
        {titleOf(topic.channel, names)}
        {!topic.joined && <span class="dim"> not joined</span>}
      </th>
      <td class="number">{now === undefined ? '–' : rate(now)}</td>
      <td class="trend minor">
        <Sparkline values={ratesOf(history, messages)} />
      </td>
      <td class="number">{count(topic.messages)}</td>
      <td class="number minor">{bytes(topic.bytes)}</td>
      <td class="number minor">{topic.members + (topic.joined ? 1 : 0)}</td>
      <td class={missing > 0 ? 'number bad' : 'number dim'}>{count(missing)}</td>
    </tr>
  )
}

/** The inbox of a node has its PeerId for a name. */
function titleOf(channel: string, names: RowProps['names']): string {
  if (!channel.startsWith('@')) return channel
  const peerId = channel.slice(1)
  return `inbox of ${nameOf(peerId, names.get(peerId))}`
}

const isOwn = ({ channel }: Topic): boolean => !/^[@$]/.test(channel)

/** Channels of applications before those of Skein. */
function own(one: Topic, other: Topic): number {
  return Number(isOwn(other)) - Number(isOwn(one)) || one.channel.localeCompare(other.channel)
}

/** Messages that others have published and that are not here. */
function missingIn({ logs }: Topic): number {
  let sum = 0
  for (const { missing } of logs) for (const { from, to } of missing) sum += to - from + 1
  return sum
}
