import type { Command } from 'commander'
import { SkeinError } from '../core/errors.ts'
import type { GroupStatus } from '../node/contract.ts'
import { withNodeOptions } from './node-options.ts'
import type { ClientOptions } from './node-options.ts'
import { ask } from './question.ts'
import type { Json } from './question.ts'
import { print, printJson, table } from './terminal.ts'

type Group = Json<GroupStatus>

function partitionText({ onPartition }: Group): string {
  return onPartition === 'available' ? onPartition : `majority of ${onPartition.majority}`
}

function listTable(groups: readonly Group[]): string {
  const rows = groups.map((group) => [
    group.name,
    group.filter,
    partitionText(group),
    String(group.lag),
    String(group.members.filter(({ state }) => state === 'live').length),
    group.open ? 'member' : '-',
    group.createdAt
  ])
  return table(['NAME', 'FILTER', 'ON PARTITION', 'LAG', 'LIVE', 'THIS NODE', 'CREATED'], rows)
}

function membersTable({ members }: Group): string {
  const rows = members.map(({ node, peerId, slots, state }) => [
    node ?? '-',
    state,
    String(slots),
    peerId
  ])
  return table(['MEMBER', 'STATE', 'SLOTS', 'PEER'], rows)
}

async function show(name: string | undefined, options: ClientOptions): Promise<void> {
  const { groups } = await ask<{ groups: readonly Group[] }>(options, '/v1/groups')
  if (name === undefined) {
    if (options.json === true) return printJson({ groups })
    return print(groups.length === 0 ? 'no groups\n' : listTable(groups))
  }
  const group = groups.find((one) => one.name === name)
  if (group === undefined) {
    throw new SkeinError('ERR_SUBSCRIPTION_UNKNOWN', `The node knows no group '${name}'`)
  }
  if (options.json === true) return printJson(group)
  return print(`${listTable([group])}\n${membersTable(group)}`)
}

export function addGroups(program: Command): void {
  const command = withNodeOptions(
    program
      .command('groups')
      .description('list the work groups that the node knows, or the members and slots of one')
      .argument('[name]', 'name of the group')
  ).action(show)
  withNodeOptions(
    command
      .command('forget')
      .description('end a group in the whole mesh, with all that is known of what was done')
      .argument('<name>', 'name of the group')
  ).action(async (name: string, _options: ClientOptions, self: Command) => {
    const path = `/v1/groups/${encodeURIComponent(name)}`
    await ask<undefined>(self.optsWithGlobals<ClientOptions>(), path, 'DELETE')
  })
}
