import { Option } from 'commander'
import type { Command } from 'commander'
import type { NodeChoice } from './node-locator.ts'

/** Options that every command which talks to a node has. */
export interface ClientOptions extends NodeChoice {
  readonly json?: boolean
  readonly verbose?: boolean
}

/** Adds the options that say which node is meant. */
export function withNodeOptions(command: Command): Command {
  return command
    .addOption(new Option('--data-dir <dir>', "the node's data directory").env('SKEIN_DATA_DIR'))
    .addOption(new Option('--mesh <mesh>', 'a node of this mesh').env('SKEIN_MESH'))
    .addOption(new Option('--name <name>', 'the node of this name').env('SKEIN_NAME'))
    .addOption(
      new Option('--api <url>', 'the HTTP interface of the node; its token in SKEIN_TOKEN').env(
        'SKEIN_API'
      )
    )
    .option('--json', 'print JSON')
    .option('--verbose', 'say more, and show stack traces of errors')
}
