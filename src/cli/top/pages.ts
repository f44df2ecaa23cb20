import { bytesText, durationText } from '../units.ts'
import type { Sample } from './snapshot.ts'
import type { Cell, Style } from './styled-line.ts'

/** One list of what a node knows. */
export interface Page {
  readonly title: string
  /** Where there may be more than is listed. */
  readonly total?: number
  readonly heads: readonly string[]
  readonly rows: ReadonlyArray<readonly Cell[]>
  /** Instead of no rows. */
  readonly empty: string
}

export const PAGE_COUNT = 6
/** The page of messages that wait for single peers. */
export const OUTBOX_PAGE = 4

const STATE_STYLES: Readonly<Record<string, Style>> = { up: 'good', suspect: 'warn', down: 'bad' }

const text = (value: string | undefined, style?: Style): Cell => ({ text: value || '-', style })
const count = (value: number, style?: Style): Cell => ({
  text: value.toLocaleString('en-US'),
  isNumber: true,
  style
})
const bytes = (value: number): Cell => ({ text: bytesText(value), isNumber: true })
const state = (value: string): Cell => text(value, STATE_STYLES[value])

export function rateText(rate: number | undefined): string {
  if (rate === undefined) return '-'
  return `${rate.toLocaleString('en-US', { maximumFractionDigits: rate < 10 ? 1 : 0 })}/s`
}

/** How long ago a moment was; `-` where there is none. */
export function agoText(moment: string | undefined, now: number): string {
  return moment === undefined ? '-' : durationText(now - Date.parse(moment))
}

const STATES = ['up', 'suspect', 'down']

function peersPage({ at, snapshot }: Sample): Page {
  const peers = snapshot.peers.toSorted(
    (a, b) =>
      STATES.indexOf(a.state) - STATES.indexOf(b.state) ||
      (a.name ?? a.peerId).localeCompare(b.name ?? b.peerId)
  )
  return {
    title: 'Peers',
    heads: ['NAME', 'STATE', 'FOR', 'LINK', 'ROUND TRIP', 'SEEN', 'CHANNELS', 'PEER'],
    rows: peers.map((peer) => [
      text(peer.name),
      state(peer.state),
      { text: agoText(peer.since, at), isNumber: true },
      text(peer.connected ? 'connected' : undefined),
      {
        text: peer.roundTripMs === undefined ? '-' : `${peer.roundTripMs.toFixed(1)} ms`,
        isNumber: true
      },
      { text: agoText(peer.lastSeen, at), isNumber: true },
      count(peer.channels.length),
      text(peer.peerId, 'dim')
    ]),
    empty: 'no peers yet; skein doctor looks for the reason'
  }
}

function topicsPage({ rates, snapshot }: Sample): Page {
  const rateOf = (channel: string): number => rates?.channels.get(channel) ?? 0
  const topics = snapshot.topics.toSorted(
    (a, b) => rateOf(b.channel) - rateOf(a.channel) || b.bytes - a.bytes
  )
  return {
    title: 'Topics',
    heads: ['CHANNEL', 'RATE', 'MESSAGES', 'BYTES', 'MEMBERS', 'LOGS', 'WITH GAPS', 'JOINED'],
    rows: topics.map((topic) => {
      const gaps = topic.logs.filter(({ missing }) => missing.length > 0).length
      return [
        text(topic.channel),
        { text: rateText(rates?.channels.get(topic.channel)), isNumber: true },
        count(topic.messages),
        bytes(topic.bytes),
        count(topic.members),
        count(topic.logs.length),
        count(gaps, gaps > 0 ? 'warn' : undefined),
        text(topic.joined ? 'yes' : undefined)
      ]
    }),
    empty: 'no channels yet'
  }
}

function subscribersPage({ at, snapshot }: Sample): Page {
  const subscribers = snapshot.status.subscribers.toSorted((a, b) => b.lag - a.lag)
  return {
    title: 'Subscribers',
    heads: ['SUBSCRIPTION', 'NODE', 'STATE', 'LAG', 'SEEN', 'FILTER'],
    rows: subscribers.map((one) => {
      // Whoever is off is what people look for: the whole row stands out.
      const style: Style | undefined = one.state === 'down' ? 'bad' : undefined
      return [
        text(one.subscription, style),
        text(one.node ?? one.peerId, style),
        state(one.state),
        count(one.lag, style ?? (one.lag > 0 ? 'warn' : undefined)),
        { text: agoText(one.lastSeen, at), isNumber: true, style },
        text(one.filter, style)
      ]
    }),
    empty: 'no durable subscribers'
  }
}

function groupsPage({ snapshot }: Sample): Page {
  return {
    title: 'Groups',
    heads: ['GROUP', 'LAG', 'LIVE', 'MEMBERS', 'ON PARTITION', 'FILTER'],
    rows: snapshot.groups.map((group) => {
      const live = group.members.filter((member) => member.state === 'live').length
      return [
        text(group.name),
        count(group.lag, group.lag > 0 ? 'warn' : undefined),
        count(live, live === 0 ? 'bad' : undefined),
        text(group.members.map(({ node, peerId }) => node ?? peerId).join(' ')),
        text(
          group.onPartition === 'available'
            ? group.onPartition
            : `majority of ${group.onPartition.majority}`
        ),
        text(group.filter)
      ]
    }),
    empty: 'no groups'
  }
}

function outboxPage({ at, snapshot }: Sample): Page {
  return {
    title: 'Outbox',
    total: snapshot.status.outbox,
    heads: ['TO', 'FOR', 'BYTES', 'CUSTODIANS', 'EXPIRES IN', 'TOPIC'],
    rows: snapshot.outbox.map((entry) => [
      text(entry.toName ?? entry.to),
      { text: agoText(entry.since, at), isNumber: true },
      bytes(entry.bytes),
      count(entry.custodians.length),
      { text: durationText(Date.parse(entry.expiresAt) - at), isNumber: true },
      text(entry.topic)
    ]),
    empty: 'nothing waits'
  }
}

function deadLettersPage({ at, snapshot }: Sample): Page {
  return {
    title: 'Dead letters',
    heads: ['SUBSCRIPTION', 'FOR', 'ATTEMPTS', 'REASON', 'TOPIC'],
    rows: snapshot.deadLetters.map((letter) => [
      text(letter.subscription),
      { text: agoText(letter.since, at), isNumber: true },
      count(letter.attempts),
      text(letter.reason, 'bad'),
      text(letter.topic)
    ]),
    empty: 'no dead letters'
  }
}

/** All lists, in the order in which keys walk through them. */
export function pagesOf(sample: Sample): Page[] {
  return [
    peersPage(sample),
    topicsPage(sample),
    subscribersPage(sample),
    groupsPage(sample),
    outboxPage(sample),
    deadLettersPage(sample)
  ]
}
