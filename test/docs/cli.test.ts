import { readFileSync } from 'node:fs'
import { Command } from 'commander'
import { describe, expect, it } from 'vitest'
import { addBench } from '../../src/cli/bench.ts'
import { addDlq } from '../../src/cli/dlq.ts'
import { addDoctor } from '../../src/cli/doctor.ts'
import { addGroups } from '../../src/cli/groups.ts'
import { addHistory } from '../../src/cli/history.ts'
import { addKey } from '../../src/cli/key.ts'
import { withNodeOptions } from '../../src/cli/node-options.ts'
import { addPub } from '../../src/cli/pub.ts'
import { addReply } from '../../src/cli/reply.ts'
import { addRequest } from '../../src/cli/request.ts'
import { addSend } from '../../src/cli/send.ts'
import { addSim } from '../../src/cli/sim.ts'
import { addStart } from '../../src/cli/start.ts'
import { addStatus } from '../../src/cli/status.ts'
import { addStream } from '../../src/cli/stream.ts'
import { addSub } from '../../src/cli/sub.ts'
import { addSubscriptions } from '../../src/cli/subscriptions.ts'
import { addTop } from '../../src/cli/top.ts'
import { codesOf, pageOf, rowsOf, sectionOf } from './tables.ts'

const page = pageOf('cli.md')
const main = readFileSync(new URL('../../src/cli/main.ts', import.meta.url), 'utf8')
const adders = {
  addStart,
  addPub,
  addSub,
  addSend,
  addRequest,
  addReply,
  addStream,
  addHistory,
  addStatus,
  addTop,
  addSubscriptions,
  addGroups,
  addDlq,
  addKey,
  addDoctor,
  addBench,
  addSim
}

/** Commands that do nothing by themselves. */
const PARENTS = new Set(['skein key', 'skein dlq', 'skein stream'])

/** Every command that does something, by its whole name. */
function commands(): Map<string, Command> {
  const program = new Command('skein')
  for (const add of Object.values(adders)) add(program)
  const found = new Map<string, Command>()
  const visit = (command: Command, name: string): void => {
    for (const sub of command.commands) {
      const full = `${name} ${sub.name()}`
      if (!PARENTS.has(full)) found.set(full, sub)
      visit(sub, full)
    }
  }
  visit(program, 'skein')
  return found
}

const longOf = (command: Command): string[] =>
  command.options.flatMap(({ long }) => (long === undefined || long === null ? [] : [long]))

/** The section on a command: its heading begins with the command, or names it second. */
function about(name: string): string {
  const heading = page.split('\n').find(
    (line) =>
      line.startsWith('## ') &&
      line
        .replaceAll('\\', '')
        .split(/[<[,#]/)
        .some((part) => part.trim() === name)
  )
  return heading === undefined ? '' : sectionOf(page, heading)
}

describe('docs: command line', () => {
  it('is tested with the commands of the program', () => {
    const called = [...main.matchAll(/^ {2}(add\w+)\(program\)$/gm)].map((match) => match[1])
    expect(called).toEqual(Object.keys(adders))
  })

  it('lists every command, and no other', () => {
    const intro = page.slice(0, page.indexOf('\n## '))
    const listed = rowsOf(intro).map(([name = '']) => codesOf(name)[0])
    expect(listed).toEqual([...commands().keys()])
  })

  it('lists every option of every command, and no other', () => {
    const shared = longOf(withNodeOptions(new Command()))
    const sharedDocs = codesOf(sectionOf(page, '## Which node')).map((code) => code.split(' ')[0])
    expect(sharedDocs).toEqual(expect.arrayContaining(shared))
    for (const [name, command] of commands()) {
      const options = longOf(command)
      const usesNode = options.includes('--api')
      const own = options.filter((option) => !usesNode || !shared.includes(option))
      const section = about(name)
      const rows =
        name === 'skein start'
          ? section
          : rowsOf(section)
              .map(([cell = '']) => cell)
              .join(' ')
      const documented = codesOf(rows).flatMap((code) => /^--[\w-]+/.exec(code)?.[0] ?? [])
      expect({ name, options: [...new Set(documented)].toSorted() }).toEqual({
        name,
        options: own.toSorted()
      })
    }
  })
})
