import { ago, bytes, count, nameOf } from './format.ts'
import type { Peer, Snapshot, Subscriber } from './model.ts'
import { type Sample, subscriberKey } from './sample.ts'

/** `critical`: messages are refused or lost. `warning`: somebody should look. `notice`: good to know. */
export type Severity = 'critical' | 'warning' | 'notice'

export interface Alert {
  readonly severity: Severity
  readonly text: string
  readonly detail: string
  /** The section that shows more. */
  readonly section: string
}

/** A peer that is down for longer is not news: the table has it. */
const NEWS_MS = 24 * 3_600_000
/** More than so many of one kind are counted, not listed. */
const LISTED = 3
/** A lag that grew for so long is worth a look, ms. */
const GROWING_MS = 30_000
/** Fewer messages than these are noise. */
const GROWING_LAG = 100
/** A node whose event loop is late for so long answers late, s. */
const LOOP_DELAY = 0.25

/** What is wrong, the worst first. */
export function alertsOf(history: readonly Sample[], now: Snapshot): readonly Alert[] {
  const alerts = [
    ...storeAlerts(now),
    ...peerAlerts(now),
    ...subscriberAlerts(history, now),
    ...webhookAlerts(now),
    ...gapAlerts(now),
    ...deadLetterAlerts(now),
    ...nodeAlerts(now)
  ]
  return alerts.toSorted((one, other) => RANK[one.severity] - RANK[other.severity])
}

const RANK: Readonly<Record<Severity, number>> = { critical: 0, warning: 1, notice: 2 }

const CONDITIONS: Readonly<Record<string, readonly [string, string]>> = {
  full: ['The disk is full', 'Publishing is refused until there is more space than the reserve.'],
  failed: ['The disk takes no writes', 'The node tries to open its store again.'],
  broken: ['The store is broken', 'The node is stopping. Check the disk, then start it again.']
}

function storeAlerts({ status }: Snapshot): Alert[] {
  const { condition, freeBytes, reserveBytes } = status.store
  const section = 'node'
  const [text, detail] = CONDITIONS[condition] ?? []
  if (text !== undefined && detail !== undefined) {
    return [{ severity: 'critical', text, detail, section }]
  }
  if (!status.ready) {
    const reason = `Its store is ${condition}.`
    return [{ severity: 'critical', text: 'The node is not ready', detail: reason, section }]
  }
  if (freeBytes === undefined || freeBytes >= 2 * reserveBytes) return []
  const left = `${bytes(freeBytes)} free; below ${bytes(reserveBytes)} publishing is refused.`
  return [{ severity: 'warning', text: 'The disk is nearly full', detail: left, section }]
}

function peerAlerts({ at, peers, status }: Snapshot): Alert[] {
  const section = 'topology'
  const down = peers.filter((peer) => peer.state === 'down' && at - timeOf(peer) < NEWS_MS)
  const alerts: Alert[] = listed(down, (peer) => ({
    severity: 'warning',
    text: `${nameOf(peer.peerId, peer.name)} is down`,
    detail:
      peer.lastSeen === undefined ? 'Never seen.' : `Last seen ${ago(at - timeOf(peer))} ago.`,
    section
  }))
  if (down.length > LISTED) {
    const names = down.map((peer) => nameOf(peer.peerId, peer.name)).join(', ')
    alerts.push({
      severity: 'warning',
      text: `${down.length} peers are down`,
      detail: names,
      section
    })
  }
  if (peers.length > 0 && status.peers.connected === 0) {
    const detail = 'The node stores what is published here, and hands it on when it meets one.'
    alerts.push({ severity: 'warning', text: 'No peer is connected', detail, section })
  }
  return alerts
}

function subscriberAlerts(history: readonly Sample[], now: Snapshot): Alert[] {
  const section = 'subscribers'
  const behind = now.status.subscribers.filter(
    (subscriber) =>
      (subscriber.state === 'down' && subscriber.lag > 0) || isGrowing(history, subscriber)
  )
  const alerts: Alert[] = listed(behind, (subscriber) => {
    const name = `${subscriber.subscription} at ${nameOf(subscriber.peerId, subscriber.node)}`
    const messages = `${count(subscriber.lag)} ${subscriber.lag === 1 ? 'message' : 'messages'}`
    return subscriber.state === 'down'
      ? {
          severity: 'warning',
          text: `${name} is off, with ${messages} to come`,
          detail: 'They are kept as long as the retention of their channels.',
          section
        }
      : {
          severity: 'warning',
          text: `${name} falls behind: ${messages}`,
          detail: 'Its consumer is slower than what comes in.',
          section
        }
  })
  if (behind.length > LISTED) {
    const text = `${behind.length} durable subscribers are behind`
    alerts.push({
      severity: 'warning',
      text,
      detail: 'Off, or slower than what comes in.',
      section
    })
  }
  return alerts
}

/** Is its node up, and did its lag grow over the last half minute, and never shrink? */
export function isGrowing(history: readonly Sample[], subscriber: Subscriber): boolean {
  const now = history.at(-1)
  if (now === undefined || subscriber.state === 'down' || subscriber.lag < GROWING_LAG) return false
  const seen = history.filter(({ at }) => now.at - at <= GROWING_MS)
  if (now.at - (seen[0]?.at ?? now.at) < GROWING_MS / 2) return false
  const key = subscriberKey(subscriber)
  const lags = seen.map((sample) => sample.lags.get(key) ?? 0)
  const isRising = lags.every((lag, index) => index === 0 || lag >= (lags[index - 1] ?? 0))
  return isRising && (lags.at(-1) ?? 0) > (lags[0] ?? 0)
}

function webhookAlerts({ at, groups, subscriptions }: Snapshot): Alert[] {
  const pushed = [
    ...subscriptions.map(({ durable = '', webhook }) => ({ name: durable, webhook })),
    ...groups.map(({ name, webhook }) => ({ name, webhook }))
  ]
  return pushed.flatMap(({ name, webhook }): Alert[] => {
    if (webhook === undefined || webhook.state === 'pushing') return []
    const { lastError = '', since, state } = webhook
    const text = `The webhook of ${name} ${state === 'paused' ? 'is paused' : 'fails'}`
    const detail = `For ${ago(at - Date.parse(since))}. ${lastError}`
    return [{ severity: 'warning', text, detail, section: 'subscribers' }]
  })
}

function gapAlerts({ subscriptions }: Snapshot): Alert[] {
  const waiting = subscriptions.filter(({ gaps }) => gaps.length > 0)
  return listed(waiting, ({ durable = '' }) => ({
    severity: 'warning',
    text: `${durable} waits for messages that are missing`,
    detail:
      'They come when a node that holds them is up. Give them up with: skein subscriptions skip.',
    section: 'subscribers'
  }))
}

function deadLetterAlerts({ deadLetters }: Snapshot): Alert[] {
  if (deadLetters.length === 0) return []
  const names = [...new Set(deadLetters.map(({ subscription }) => subscription))].join(', ')
  const text =
    deadLetters.length === 1 ? '1 dead letter' : `${count(deadLetters.length)} dead letters`
  return [{ severity: 'warning', text, detail: `At ${names}.`, section: 'dead-letters' }]
}

function nodeAlerts({ loopDelay, peers, status }: Snapshot): Alert[] {
  const section = 'node'
  const alerts: Alert[] = []
  if (loopDelay !== undefined && loopDelay > LOOP_DELAY) {
    const detail = `Its event loop is late by ${Math.round(loopDelay * 1000)} ms.`
    alerts.push({ severity: 'warning', text: 'The node is overloaded', detail, section })
  }
  if (status.networkKeyId === undefined) {
    const detail =
      'Whoever reaches this network may join, read and publish. Close it with a network key.'
    alerts.push({ severity: 'notice', text: 'This is an open mesh', detail, section })
  }
  if (peers.length === 0) {
    const detail =
      'Start a second node on this network, or name one with --join. skein doctor helps.'
    alerts.push({
      severity: 'notice',
      text: 'No other node was met yet',
      detail,
      section: 'topology'
    })
  }
  return alerts
}

function listed<Item>(items: readonly Item[], alertOf: (item: Item) => Alert): Alert[] {
  return items.length > LISTED ? [] : items.map(alertOf)
}

function timeOf(peer: Peer): number {
  return peer.lastSeen === undefined ? 0 : Date.parse(peer.lastSeen)
}
