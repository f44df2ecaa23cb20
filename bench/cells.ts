export type Workload = 'throughput' | 'latency' | 'durable' | 'request' | 'idle'

/** Who dials whom: everyone the publisher, or everyone all nodes before it. */
type Topology = 'star' | 'mesh'

/** One thing that is measured. */
export interface Cell {
  readonly name: string
  readonly workload: Workload
  /** Bytes of a payload. */
  readonly size: number
  /** Nodes beside the publisher. */
  readonly subscribers: number
  readonly topology: Topology
  /** Messages a second, of a latency cell. */
  readonly rate: number
  /** Messages or requests that are not answered yet at most, of a durable or a request cell. */
  readonly window: number
  /** How long is measured, ms, unless asked otherwise. */
  readonly durationMs: number
}

const KIB = 1024

function throughput(subscribers: number, size: number, sizeName: string): Cell {
  return {
    name: `1to${subscribers}-${sizeName}`,
    workload: 'throughput',
    size,
    subscribers,
    topology: 'star',
    rate: 0,
    window: 0,
    durationMs: 2000
  }
}

function latency(subscribers: number, topology: Topology): Cell {
  return {
    name: `latency-1to${subscribers}${topology === 'mesh' ? '-mesh' : ''}`,
    workload: 'latency',
    size: 256,
    subscribers,
    topology,
    rate: 1000,
    window: 0,
    durationMs: 4000
  }
}

function idle(nodes: number, durationMs: number): Cell {
  return {
    name: `idle-${nodes}`,
    workload: 'idle',
    size: 0,
    subscribers: nodes - 1,
    topology: 'star',
    rate: 0,
    window: 0,
    durationMs
  }
}

function request(window: number): Cell {
  return {
    name: `request-${window}`,
    workload: 'request',
    size: 128,
    subscribers: 1,
    topology: 'star',
    rate: 0,
    window,
    durationMs: 3000
  }
}

const DURABLE: Cell = {
  name: 'durable-1KiB',
  workload: 'durable',
  size: KIB,
  subscribers: 0,
  topology: 'star',
  rate: 0,
  window: 256,
  durationMs: 3000
}

/** Every cell, in the order in which it is run and reported. */
export const CELLS: readonly Cell[] = [
  throughput(1, 128, '128B'),
  throughput(1, KIB, '1KiB'),
  throughput(1, 64 * KIB, '64KiB'),
  throughput(4, 128, '128B'),
  throughput(4, KIB, '1KiB'),
  throughput(4, 64 * KIB, '64KiB'),
  latency(1, 'star'),
  latency(4, 'star'),
  latency(4, 'mesh'),
  DURABLE,
  request(1),
  request(256),
  idle(1, 5000),
  idle(20, 10_000)
]

/** The cells whose names contain one of `parts`, separated by commas. Throws when a part names none. */
export function selectCells(parts: string | undefined): readonly Cell[] {
  if (parts === undefined) return CELLS
  const wanted = parts.split(',').map((part) => part.trim())
  for (const part of wanted) {
    if (CELLS.some((cell) => cell.name.includes(part))) continue
    const names = CELLS.map((cell) => cell.name).join(', ')
    throw new Error(`--only ${part}: no cell is named so; there are ${names}`)
  }
  return CELLS.filter((cell) => wanted.some((part) => cell.name.includes(part)))
}
