import { parseArgs } from 'node:util'
import { selectCells, type Cell } from './cells.ts'

export interface BenchOptions {
  readonly runs: number
  readonly cells: readonly Cell[]
  /** Names of contenders; undefined for all. */
  readonly contenders: readonly string[] | undefined
  /** How long each cell is measured, ms; undefined: as each cell says. */
  readonly durationMs: number | undefined
  readonly json: string | undefined
  readonly peers: boolean
  readonly quick: boolean
  readonly profileDir: string | undefined
  readonly build: boolean
  /** Run the small measurements of single parts instead. */
  readonly micro: boolean
  /** Measure what the doors of a node cost instead: the name of a measurement, or `all`. */
  readonly doors: string | undefined
}

export const USAGE = `npm run bench -- [options]

  --runs <n>          runs of every cell, medians are reported (default 3, with --quick 1)
  --only <cells>      cells whose names contain one of these, separated by commas
  --contenders <list> contenders with these names only, separated by commas
  --duration <s>      seconds measured in each cell (default: as the cell says, 2 to 10)
  --peers             measure the competitors beside Skein, as far as they are installed
  --quick             one run of half the length
  --profile <folder>  write CPU profiles of the publisher and the first subscriber of each cell
  --json <file>       write the figures there instead of to bench/results/
  --no-build          measure dist/ as it is
  --micro             codec, store and disk by themselves instead
  --doors <which>     event streams and the cost of sidecars instead: fan-out, overhead or all
  --list              print the cells and the contenders`

/** Throws on an argument that it does not know. */
export function parseOptions(args: readonly string[]): BenchOptions | 'help' | 'list' {
  const { values } = parseArgs({
    args: [...args],
    options: {
      runs: { type: 'string' },
      only: { type: 'string' },
      contenders: { type: 'string' },
      duration: { type: 'string' },
      json: { type: 'string' },
      peers: { type: 'boolean', default: false },
      quick: { type: 'boolean', default: false },
      profile: { type: 'string' },
      'no-build': { type: 'boolean', default: false },
      micro: { type: 'boolean', default: false },
      doors: { type: 'string' },
      list: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false }
    }
  })
  if (values.help) return 'help'
  if (values.list) return 'list'
  const { duration } = values
  return {
    runs: positive('runs', values.runs ?? (values.quick ? '1' : '3')),
    cells: selectCells(values.only),
    contenders: values.contenders?.split(',').map((name) => name.trim()),
    durationMs: duration === undefined ? undefined : positive('duration', duration) * 1000,
    json: values.json,
    peers: values.peers,
    quick: values.quick,
    profileDir: values.profile,
    build: !values['no-build'],
    micro: values.micro,
    doors: values.doors
  }
}

function positive(name: string, text: string): number {
  const value = Number(text)
  if (Number.isFinite(value) && value > 0) return value
  throw new Error(`--${name} ${text}: it must be a number above 0`)
}
