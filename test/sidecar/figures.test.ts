import { describe, expect, it } from 'vitest'
import { Figures } from '../../src/sidecar/figures.ts'
import { startBench } from './http-client.ts'

describe('sidecar figures', () => {
  it('figures: counters, gauges and histograms stand in the text format of Prometheus', () => {
    const figures = new Figures()
    figures.counter('skein_a_total', 'Nothing yet.')
    const counter = figures.counter('skein_b_total', 'By reason.', ['reason'])
    counter.add(['a "b"\\\n'])
    counter.add(['a "b"\\\n'], 2)
    figures.gauge('skein_c', 'Now.', [], () => 7)
    figures.gauge('skein_d', 'By kind.', ['kind'], () => [[['x'], 1]])
    const histogram = figures.histogram('skein_e_seconds', 'Spread.', ['route'])
    for (const seconds of [0.001, 0.3, 0.4, 100]) histogram.observe(seconds, ['/'])
    const lines = figures.text().split('\n')
    expect(lines).toEqual(
      expect.arrayContaining([
        '# TYPE skein_a_total counter',
        'skein_a_total 0',
        String.raw`skein_b_total{reason="a \"b\"\\\n"} 3`,
        'skein_c 7',
        'skein_d{kind="x"} 1',
        'skein_e_seconds_bucket{route="/",le="0.001"} 1',
        'skein_e_seconds_bucket{route="/",le="0.5"} 3',
        'skein_e_seconds_bucket{route="/",le="60"} 3',
        'skein_e_seconds_bucket{route="/",le="+Inf"} 4',
        'skein_e_seconds_sum{route="/"} 100.701',
        'skein_e_seconds_count{route="/"} 4'
      ])
    )
  })

  it('figures: requests are counted by pattern and status, streams while they are open', async () => {
    const b = await startBench()
    const figure = async (start: string): Promise<number> => {
      const { text } = await b.call('/metrics')
      const line = text.split('\n').find((candidate) => candidate.startsWith(start))
      return Number(line?.split(' ').at(-1) ?? 0)
    }
    await b.post('/v1/publish/secret/topic', 'x')
    await b.call('/v1/subscriptions/secret')
    await b.call('/secret')
    await b.call('/v1/status', { token: 'wrong' })
    const reader = await b.stream('/v1/subscribe?filter=secret/%23')
    await reader.next()
    const total = (labels: string): string => `skein_http_requests_total{${labels}} `
    expect([
      await figure(total('method="POST",route="/v1/publish/*",status="202"')),
      await figure(total('method="GET",route="/v1/subscriptions/:name",status="404"')),
      await figure(total('method="GET",route="none",status="404"')),
      await figure(total('method="GET",route="/v1/status",status="401"')),
      await figure('skein_http_streams{kind="events"} '),
      await figure('skein_http_request_seconds_count{route="/v1/publish/*"} ')
    ]).toEqual([1, 1, 1, 1, 1, 1])
    expect(await figure('skein_http_connections ')).toBeGreaterThan(1)
    reader.close()
    while ((await figure('skein_http_streams{kind="events"} ')) > 0);
    expect(await figure(total('method="GET",route="/v1/subscribe",status="200"'))).toBe(1)
    const { text } = await b.call('/metrics')
    expect(text).not.toContain('secret')
    expect(text).not.toContain('skein_http_request_seconds_count{route="/v1/subscribe"}')
  })
})
