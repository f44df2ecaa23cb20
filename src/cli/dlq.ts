import type { Command } from 'commander'
import type { DeadLetterEntry } from '../node/contract.ts'
import { withNodeOptions } from './node-options.ts'
import type { ClientOptions } from './node-options.ts'
import { ask } from './question.ts'
import type { Json } from './question.ts'
import { print, printJson, table } from './terminal.ts'

async function list(subscription: string | undefined, options: ClientOptions): Promise<void> {
  const query =
    subscription === undefined ? '' : `?subscription=${encodeURIComponent(subscription)}`
  const found = await ask<{ deadLetters: ReadonlyArray<Json<DeadLetterEntry>> }>(
    options,
    `/v1/dlq${query}`
  )
  if (options.json === true) return printJson(found)
  if (found.deadLetters.length === 0) return print('no dead letters\n')
  const rows = found.deadLetters.map((letter) => [
    letter.subscription,
    letter.topic,
    letter.reason,
    String(letter.attempts),
    String(letter.bytes),
    letter.since,
    letter.id
  ])
  return print(table(['SUBSCRIPTION', 'TOPIC', 'REASON', 'ATTEMPTS', 'BYTES', 'SINCE', 'ID'], rows))
}

async function redrive(
  subscription: string,
  ids: readonly string[],
  options: ClientOptions
): Promise<void> {
  const found = await ask<{ redriven: number }>(
    options,
    `/v1/dlq/${encodeURIComponent(subscription)}/redrive`,
    'POST',
    ids.length === 0 ? {} : { ids }
  )
  if (options.json === true) return printJson(found)
  return print(`${found.redriven} redriven\n`)
}

export function addDlq(program: Command): void {
  const command = program
    .command('dlq')
    .description('messages that durable subscriptions of the node handed over too often in vain')
  withNodeOptions(
    command
      .command('list')
      .description('list the dead letters')
      .argument('[subscription]', 'only those of this durable subscription')
  ).action((subscription: string | undefined, options: ClientOptions) =>
    list(subscription, options)
  )
  withNodeOptions(
    command
      .command('redrive')
      .description('offer dead letters again to the subscription that they failed at')
      .argument('<subscription>', 'name of the durable subscription')
      .argument('[ids...]', 'ids of dead letters; default: all of the subscription')
  ).action((subscription: string, ids: readonly string[], options: ClientOptions) =>
    redrive(subscription, ids, options)
  )
}
