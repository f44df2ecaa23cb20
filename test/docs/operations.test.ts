import { describe, expect, it, onTestFinished } from 'vitest'
import { createMetrics } from '../../src/node/metrics.ts'
import { createLoneEngine } from '../fixtures/lone-engine.ts'
import { startBench } from '../sidecar/http-client.ts'
import { Figures } from '../../src/sidecar/figures.ts'
import { createMqttFigures } from '../../src/sidecar/mqtt/metrics.ts'
import { codesOf, pageOf, rowsOf, sectionOf } from './tables.ts'

/** Those of the process and of Node.js, which come with the library that exposes them. */
const DEFAULT_PREFIX = /^skein_(process|nodejs)_/

/** Name, type, labels and help of each metric in a text exposition. */
function exposed(text: string): string[][] {
  return text
    .split('\n')
    .flatMap((line) => /^# HELP (\S+) (.*)$/.exec(line)?.slice(1, 3) ?? [])
    .flatMap((value, index, all) => (index % 2 === 0 ? [[value, all[index + 1] as string]] : []))
    .map(([name = '', help = '']) => {
      const type = new RegExp(`^# TYPE ${name} (\\S+)$`, 'm').exec(text)?.[1] ?? ''
      const sample = new RegExp(`^${name}(?:_count)?\\{(.*)\\} `, 'm').exec(text)?.[1] ?? ''
      const labels = [...sample.matchAll(/(\w+)="/g)].map((match) => match[1] as string)
      return [name, type, labels.join(' '), help]
    })
}

/** Those of the MQTT interface, which most nodes do not have. */
function mqttFigures(): string {
  const figures = new Figures()
  const mqtt = createMqttFigures(figures, () => 0)
  mqtt.received(0)
  mqtt.sent(0)
  mqtt.dropped('reserved')
  mqtt.closed('keep alive')
  return figures.text()
}

describe('docs: operations', () => {
  it('list every metric with its type, labels and meaning', async () => {
    const lone = await createLoneEngine()
    const { engine } = lone
    onTestFinished(() => engine.stop())
    // A label is seen where there is a figure for it.
    engine.receiver.stats.dropped.set('store', 1)
    engine.gaps.givenUp.set('lost', 1)
    await lone.publish('a', 'x')
    const bench = await startBench()
    await bench.call('/healthz')
    await bench.call('/v1/status', { token: 'wrong' })
    const doors = (await bench.call('/metrics')).text.slice((await bench.node.metrics()).length)
    const own = exposed(`${await createMetrics(engine).text()}${doors}${mqttFigures()}`).filter(
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
