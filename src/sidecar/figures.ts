/** Label values, in the order of the figure's labels. */
type Values = readonly string[]

interface Labelled {
  readonly name: string
  readonly help: string
  readonly labels: readonly string[]
}

/** Rises only. */
export interface Counter {
  add(values?: Values, by?: number): void
}

/** Measures how things are spread, in seconds. */
export interface Histogram {
  observe(seconds: number, values?: Values): void
}

/** What a gauge shows now: a number, or one for each combination of labels. */
export type Reading = number | Iterable<readonly [Values, number]>

/** Bounds in seconds, from a read out of memory to a long poll. */
const BOUNDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60] as const

const escaped = (value: string): string =>
  value.replace(/[\\"\n]/g, (char) => (char === '\n' ? String.raw`\n` : `\\${char}`))

function sample(name: string, labels: readonly string[], values: Values, value: number): string {
  const pairs = labels.map((label, i) => `${label}="${escaped(values[i] ?? '')}"`)
  return `${name}${pairs.length === 0 ? '' : `{${pairs.join(',')}}`} ${value}\n`
}

class CounterFigure implements Counter {
  /** By label values as JSON. */
  readonly #counts = new Map<string, number>()

  constructor(labels: readonly string[]) {
    if (labels.length === 0) this.add([], 0)
  }

  add(values: Values = [], by = 1): void {
    const key = JSON.stringify(values)
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + by)
  }

  samples({ labels, name }: Labelled): string {
    return Array.from(this.#counts, ([key, count]) =>
      sample(name, labels, JSON.parse(key) as Values, count)
    ).join('')
  }
}

class HistogramFigure implements Histogram {
  /** By label values as JSON: observations by the first bound they fit, and their sum. */
  readonly #spreads = new Map<string, { readonly counts: number[]; sum: number }>()

  observe(seconds: number, values: Values = []): void {
    const key = JSON.stringify(values)
    let spread = this.#spreads.get(key)
    if (spread === undefined) {
      spread = { counts: Array.from({ length: BOUNDS.length + 1 }, () => 0), sum: 0 }
      this.#spreads.set(key, spread)
    }
    const fits = BOUNDS.findIndex((bound) => seconds <= bound)
    const at = fits === -1 ? BOUNDS.length : fits
    spread.counts[at] = (spread.counts[at] ?? 0) + 1
    spread.sum += seconds
  }

  samples({ labels, name }: Labelled): string {
    let text = ''
    for (const [key, { counts, sum }] of this.#spreads) {
      const values = JSON.parse(key) as Values
      let total = 0
      for (const [i, count] of counts.entries()) {
        total += count
        const bound = String(BOUNDS[i] ?? '+Inf')
        text += sample(`${name}_bucket`, [...labels, 'le'], [...values, bound], total)
      }
      text += sample(`${name}_sum`, labels, values, sum)
      text += sample(`${name}_count`, labels, values, total)
    }
    return text
  }
}

/**
 * Figures of the doors of a node, in the text format of Prometheus, to stand behind those of the node. They are
 * counted from the start and cost next to nothing until somebody asks.
 */
export class Figures {
  readonly #figures: Array<() => string> = []

  counter(name: string, help: string, labels: readonly string[] = []): Counter {
    const figure = new CounterFigure(labels)
    this.#add({ name, help, labels }, 'counter', (labelled) => figure.samples(labelled))
    return figure
  }

  /** `read` is asked each time that the figures are. */
  gauge(name: string, help: string, labels: readonly string[], read: () => Reading): void {
    this.#add({ name, help, labels }, 'gauge', () => {
      const reading = read()
      const all = typeof reading === 'number' ? [[[], reading] as const] : [...reading]
      return all.map(([values, value]) => sample(name, labels, values, value)).join('')
    })
  }

  histogram(name: string, help: string, labels: readonly string[] = []): Histogram {
    const figure = new HistogramFigure()
    this.#add({ name, help, labels }, 'histogram', (labelled) => figure.samples(labelled))
    return figure
  }

  text(): string {
    return this.#figures.map((figure) => figure()).join('')
  }

  #add(labelled: Labelled, type: string, samples: (labelled: Labelled) => string): void {
    const { help, name } = labelled
    this.#figures.push(
      () => `\n# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${samples(labelled)}`
    )
  }
}
