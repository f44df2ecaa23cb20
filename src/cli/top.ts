import type { Command } from 'commander'
import { withNodeOptions } from './node-options.ts'
import type { ClientOptions } from './node-options.ts'
import { interruption, print, printJson } from './terminal.ts'
import { reportOf } from './top/frame.ts'
import { Sampler } from './top/sampler.ts'
import { Screen } from './top/screen.ts'
import { paint } from './top/styled-line.ts'
import { watch } from './top/watch.ts'

interface TopOptions extends ClientOptions {
  readonly once?: boolean
}

async function top(options: TopOptions): Promise<void> {
  const { stdin: input, stdout: output } = process
  const sampler = new Sampler(options)
  const isScreen = input.isTTY && output.isTTY && options.once !== true && options.json !== true
  try {
    const sample = await sampler.take(!isScreen)
    if (isScreen) {
      const screen = new Screen({ input, output })
      await watch({ sampler, screen, signal: interruption() }, sample)
    } else if (options.json === true) {
      await printJson({ at: new Date(sample.at), ...sample.snapshot })
    } else {
      const lines = reportOf(sample).map((line) => paint(line, Number.MAX_SAFE_INTEGER, false))
      await print(`${lines.join('\n')}\n`)
    }
  } finally {
    sampler.close()
  }
}

export function addTop(program: Command): void {
  withNodeOptions(
    program
      .command('top')
      .description('watch the node: peers, topics, subscribers, groups, outbox, dead letters')
      .option('--once', 'print it once; so it is, too, where there is no terminal')
  ).action(top)
}
