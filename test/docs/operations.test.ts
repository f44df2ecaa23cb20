import { describe, expect, it } from 'vitest'
import { createMetrics } from '../../src/node/metrics.ts'
import type { MetricsComponents } from '../../src/node/metrics.ts'
import { codesOf, pageOf, rowsOf, sectionOf } from './tables.ts'

/** Those of the process and of Node.js, which come with the library that exposes them. */
const DEFAULT_PREFIX = /^skein_(process|nodejs)_/

const nothing = {
  store: {
    usage: () => ({ bytes: 0, records: 0, freeBytes: 0, reserveBytes: 0 }),
    condition: 'open'
  },
  transport: { stats: () => ({}), peers: () => [] },
  gaps: { detected: 0, size: 0 },
  publisher: { stats: {}, backlogBytes: 0 },
  receiver: { stats: { dropped: new Map([['store', 1]]) } },
  subscriptions: { stats: {}, openCount: 0 }
}

/** Any figure that is asked for and not named is 0. */
function withZeros<Type extends object>(object: Type): Type {
  return new Proxy(object, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name)
      if (name in target || typeof name === 'symbol') return value
      return 0
    }
  })
}

function components(): MetricsComponents {
  const { publisher, receiver, subscriptions, transport } = nothing
  return {
    ...nothing,
    transport: { ...transport, stats: () => withZeros({}) },
    publisher: { ...publisher, stats: withZeros({}) },
    receiver: { stats: withZeros(receiver.stats) },
    subscriptions: { ...subscriptions, stats: withZeros({}) }
  } as unknown as MetricsComponents
}

/** Name, type, labels and help of each metric in a text exposition. */
function exposed(text: string): string[][] {
  return text
    .split('\n')
    .flatMap((line) => /^# HELP (\S+) (.*)$/.exec(line)?.slice(1, 3) ?? [])
    .flatMap((value, index, all) => (index % 2 === 0 ? [[value, all[index + 1] as string]] : []))
    .map(([name = '', help = '']) => {
      const type = new RegExp(`^# TYPE ${name} (\\S+)$`, 'm').exec(text)?.[1] ?? ''
      const sample = new RegExp(`^${name}\\{(.*)\\} `, 'm').exec(text)?.[1] ?? ''
      const labels = [...sample.matchAll(/(\w+)="/g)].map((match) => match[1] as string)
      return [name, type, labels.join(' '), help]
    })
}

describe('docs: operations', () => {
  it('list every metric with its type, labels and meaning', async () => {
    const own = exposed(await createMetrics(components()).text()).filter(
      ([name = '']) => !DEFAULT_PREFIX.test(name)
    )
    const listed = rowsOf(sectionOf(pageOf('operations.md'), '## Metrics'))
      .filter((cells) => cells.length === 4)
      .map(([name = '', type = '', labels = '', meaning = '']) => [
        codesOf(name)[0],
        type,
        codesOf(labels).join(' '),
        meaning
      ])
    expect(own.length).toBeGreaterThan(20)
    expect(listed).toEqual(own)
  })
})
