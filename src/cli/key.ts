import type { Command } from 'commander'
import { print, printJson } from './terminal.ts'

interface KeyOptions {
  readonly mesh: string
  readonly json?: boolean
}

export function addKey(program: Command): void {
  const key = program.command('key').description('make and show network keys')
  key
    .command('create')
    .description('write a new random network key; whoever has it may join the mesh')
    .argument('<file>', 'file to create, mode 0600; never overwritten')
    .option('--mesh <mesh>', 'mesh whose name goes into the key id', 'default')
    .option('--json', 'print JSON')
    .action(async (file: string, { mesh, json }: KeyOptions) => {
      const { createNetworkKey } = await import('../node/network-key.ts')
      const { keyId } = await createNetworkKey(file, mesh)
      if (json === true) return printJson({ file, keyId })
      return print(
        `${file} holds the new network key ${keyId}; copy it to every node and start them with --network-key ${file}\n`
      )
    })
  key
    .command('show')
    .description('print the id of a network key, which does not give the key away')
    .argument('<file>', 'file with the key')
    .option('--mesh <mesh>', 'mesh whose name goes into the key id', 'default')
    .option('--json', 'print JSON')
    .action(async (file: string, { mesh, json }: KeyOptions) => {
      const { describeNetworkKey } = await import('../node/network-key.ts')
      const { keyId } = await describeNetworkKey(file, mesh)
      return json === true ? printJson({ file, keyId }) : print(`${keyId}\n`)
    })
}
