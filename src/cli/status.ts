import { setTimeout as wait } from 'node:timers/promises'
import type { Command } from 'commander'
import { SkeinError, isSkeinError } from '../core/errors.ts'
import type { NodeStatus, PeerStatus, SubscriberStatus, TopicStatus } from '../node/contract.ts'
import { withNodeOptions } from './node-options.ts'
import type { ClientOptions } from './node-options.ts'
import { ask } from './question.ts'
import type { Json } from './question.ts'
import { print, printJson, shown, table } from './terminal.ts'
import { parseDuration } from './units.ts'

type Status = Json<NodeStatus> & { readonly subscribers: readonly Json<SubscriberStatus>[] }
type Peer = Json<PeerStatus>
type Topic = Json<TopicStatus>

function statusText(status: Status): string {
  const { store, peers } = status
  const rows = [
    ['node', `${status.name} (${status.peerId})`],
    ['mesh', `${status.mesh}${status.networkKeyId === undefined ? ' (open: no network key)' : ''}`],
    ['ready', status.ready ? 'yes' : `no (store: ${store.condition})`],
    ['version', status.version],
    ['started', status.startedAt],
    ['listens on', status.addresses.join(' ') || '-'],
    ['data', status.dataDir ?? 'in memory'],
    ['peers', `${peers.connected} connected, ${peers.known} known`],
    ['store', `${store.condition}, ${store.records} records, ${store.bytes} bytes`],
    ['channels', status.topics.join(' ') || '-'],
    ['messages', `${status.published} published, ${status.delivered} delivered since start`],
    ['outbox', `${status.outbox} waiting`],
    ['subscribers', subscribersText(status.subscribers)]
  ]
  return `${rows.map(([name, value]) => `${(name ?? '').padEnd(11)} ${shown(value ?? '')}`).join('\n')}\n`
}

/** How many durable ones there are in the mesh, how many are off, and which is furthest behind. */
function subscribersText(subscribers: Status['subscribers']): string {
  if (subscribers.length === 0) return 'none durable'
  const off = subscribers.filter(({ state }) => state === 'down').length
  const worst = subscribers.reduce((a, b) => (b.lag > a.lag ? b : a))
  const name = `${worst.node ?? worst.peerId}/${worst.subscription}`
  const behind = worst.lag === 0 ? 'none behind' : `${name} is furthest behind, by ${worst.lag}`
  return `${subscribers.length} durable, ${off} off, ${behind}`
}

async function waitUntilReady(options: ClientOptions, waitMs: number): Promise<Status> {
  const deadline = performance.now() + waitMs
  for (;;) {
    const left = deadline - performance.now()
    try {
      const status = await ask<Status>(options, '/v1/status')
      if (status.ready || left <= 0) return status
    } catch (error) {
      if (!isSkeinError(error, 'ERR_NO_NODE', 'ERR_STOPPED') || left <= 0) throw error
    }
    await wait(Math.max(1, Math.min(100, left)))
  }
}

async function status(options: ClientOptions & { ready?: boolean; wait?: string }): Promise<void> {
  const waitMs = options.wait === undefined ? 0 : parseDuration(options.wait, '--wait')
  const found =
    waitMs > 0 ? await waitUntilReady(options, waitMs) : await ask<Status>(options, '/v1/status')
  if (options.json === true) await printJson(found)
  else await print(statusText(found))
  if (options.ready === true && !found.ready) {
    throw new SkeinError(
      'ERR_STORE_WRITE',
      `The node is not ready (store: ${found.store.condition}); its log says why`
    )
  }
}

async function peers(options: ClientOptions): Promise<void> {
  const found = await ask<Peer[]>(options, '/v1/peers')
  if (options.json === true) return printJson(found)
  if (found.length === 0) return print('no peers yet; skein doctor looks for the reason\n')
  const rows = found.map((peer) => [
    peer.name ?? '-',
    peer.peerId,
    peer.state,
    peer.connected ? 'connected' : '-',
    peer.custodian ? 'yes' : '-',
    peer.roundTripMs === undefined ? '-' : `${peer.roundTripMs.toFixed(1)} ms`,
    peer.lastSeen ?? '-',
    peer.addresses.join(' ') || '-'
  ])
  const head = 'NAME,PEER,STATE,LINK,CUSTODIAN,ROUND TRIP,LAST SEEN,ADDRESSES'
  return print(table(head.split(','), rows))
}

async function topics(options: ClientOptions): Promise<void> {
  const found = await ask<Topic[]>(options, '/v1/topics')
  if (options.json === true) return printJson(found)
  const rows = found.map((topic) => [
    topic.channel,
    topic.joined ? 'joined' : '-',
    String(topic.members),
    String(topic.messages),
    String(topic.bytes),
    String(topic.logs.length),
    String(topic.logs.filter((log) => log.missing.length > 0).length)
  ])
  return print(
    table(['CHANNEL', 'STATE', 'MEMBERS', 'MESSAGES', 'BYTES', 'LOGS', 'WITH GAPS'], rows)
  )
}

export function addStatus(program: Command): void {
  withNodeOptions(
    program
      .command('status')
      .description('show the state of the node')
      .option('--ready', 'fail (exit code 1) unless the node is ready')
      .option('--wait <duration>', 'wait so long for a ready node')
  ).action(status)
  withNodeOptions(program.command('peers').description('list the peers of the node')).action(peers)
  withNodeOptions(program.command('topics').description('list the channels the node holds')).action(
    topics
  )
}
