#!/usr/bin/env node
import '../polyfill.ts'
import { Command, CommanderError } from 'commander'
import { VERSION } from '../core/version.ts'
import { addBench } from './bench.ts'
import { addDlq } from './dlq.ts'
import { addDoctor } from './doctor.ts'
import { addGroups } from './groups.ts'
import { addHistory } from './history.ts'
import { addKey } from './key.ts'
import { addPub } from './pub.ts'
import { addReply } from './reply.ts'
import { addRequest } from './request.ts'
import { addSend } from './send.ts'
import { addSim } from './sim.ts'
import { addStart } from './start.ts'
import { addStatus } from './status.ts'
import { addStream } from './stream.ts'
import { addSub } from './sub.ts'
import { addSubscriptions } from './subscriptions.ts'
import { endQuietlyOnClosedPipe, reportError, say } from './terminal.ts'
import { addTop } from './top.ts'

function createProgram(): Command {
  const program = new Command('skein')
    .description('A message mesh without a broker: start a node, publish, subscribe.')
    .version(VERSION)
    .showHelpAfterError(false)
    .exitOverride()
    .configureOutput({ outputError: () => {} })
  addStart(program)
  addPub(program)
  addSub(program)
  addSend(program)
  addRequest(program)
  addReply(program)
  addStream(program)
  addHistory(program)
  addStatus(program)
  addTop(program)
  addSubscriptions(program)
  addGroups(program)
  addDlq(program)
  addKey(program)
  addDoctor(program)
  addBench(program)
  addSim(program)
  // Commands made before inherit these only when copied.
  const copy = (command: Command): void => {
    for (const sub of command.commands) {
      sub.copyInheritedSettings(command)
      copy(sub)
    }
  }
  copy(program)
  return program
}

function reportUsage(error: CommanderError): 0 | 2 {
  if (error.exitCode === 0) return 0
  if (error.code !== 'commander.help') {
    const why = error.message.replace(/^error: /, '').replaceAll('\n', ' ')
    say(`skein: ${why}; see skein --help (ERR_OPTIONS)`)
  }
  return 2
}

async function main(): Promise<number> {
  endQuietlyOnClosedPipe()
  try {
    await createProgram().parseAsync(process.argv)
    return 0
  } catch (error) {
    if (error instanceof CommanderError) return reportUsage(error)
    return reportError(error, process.argv.includes('--verbose'))
  }
}

process.exitCode = await main()
