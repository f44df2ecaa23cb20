import type { Command } from 'commander'
import type { Gap, SubscriberStatus, SubscriptionStatus } from '../node/contract.ts'
import { withNodeOptions } from './node-options.ts'
import type { ClientOptions } from './node-options.ts'
import { ask } from './question.ts'
import type { Json } from './question.ts'
import { print, printJson, table } from './terminal.ts'
import { durationText } from './units.ts'

type Registered = Json<SubscriptionStatus> & {
  /** What pushing it comes to. */
  readonly webhook?: { readonly state: string }
}
type Subscriber = Json<SubscriberStatus>

function ownTable(subscriptions: readonly Registered[]): string {
  const rows = subscriptions.map((one) => [
    one.durable ?? '-',
    one.filter,
    one.webhook?.state ?? (one.open ? 'open' : 'closed'),
    String(one.inFlight),
    String(one.lag),
    String(one.gaps.length),
    one.createdAt
  ])
  return table(['NAME', 'FILTER', 'STATE', 'IN FLIGHT', 'LAG', 'GAPS', 'CREATED'], rows)
}

/** `off for 3 h`: what decides whether somebody must act. */
function stateText({ state, lastSeen }: Subscriber): string {
  if (state !== 'down') return state
  if (lastSeen === undefined) return 'off'
  return `off for ${durationText(Date.now() - Date.parse(lastSeen))}`
}

function meshTable(subscribers: readonly Subscriber[]): string {
  const rows = subscribers.map((one) => [
    one.node ?? one.peerId,
    one.subscription,
    one.filter,
    stateText(one),
    String(one.lag),
    one.createdAt
  ])
  return table(['NODE', 'NAME', 'FILTER', 'STATE', 'LAG', 'CREATED'], rows)
}

async function list(options: ClientOptions): Promise<void> {
  const found = await ask<{
    subscriptions: readonly Registered[]
    subscribers: readonly Subscriber[]
  }>(options, '/v1/subscriptions')
  if (options.json === true) return printJson(found)
  return print(
    `${ownTable(found.subscriptions)}\nDurable subscribers of the mesh:\n${meshTable(found.subscribers)}`
  )
}

const pathOf = (name: string): string => `/v1/subscriptions/${encodeURIComponent(name)}`

async function skip(name: string, options: ClientOptions): Promise<void> {
  const found = await ask<{ skipped: readonly Gap[] }>(options, `${pathOf(name)}/skip`, 'POST')
  if (options.json === true) return printJson(found)
  if (found.skipped.length === 0) return print('nothing is missing\n')
  const rows = found.skipped.map((gap) => [
    gap.channel,
    gap.publisher,
    gap.session,
    String(gap.from),
    String(gap.to)
  ])
  return print(table(['SKIPPED', 'PUBLISHER', 'SESSION', 'FROM', 'TO'], rows))
}

export function addSubscriptions(program: Command): void {
  const command = withNodeOptions(
    program
      .command('subscriptions')
      .description('list the durable subscriptions of the node, and those of the mesh')
  ).action(list)
  withNodeOptions(
    command
      .command('rm')
      .description('delete a durable subscription and its cursor')
      .argument('<name>', 'name of the subscription')
  ).action(async (name: string, _options: ClientOptions, self: Command) => {
    await ask<undefined>(self.optsWithGlobals<ClientOptions>(), pathOf(name), 'DELETE')
  })
  withNodeOptions(
    command
      .command('skip')
      .description('give up the gaps that a durable subscription waits for')
      .argument('<name>', 'name of the subscription')
  ).action((name: string, _options: ClientOptions, self: Command) =>
    skip(name, self.optsWithGlobals<ClientOptions>())
  )
}
