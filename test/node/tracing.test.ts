import { context, propagation, trace } from '@opentelemetry/api'
import type { ReadableSpan } from '@opentelemetry/sdk-trace-node'
import {
  InMemorySpanExporter,
  NodeTracerProvider,
  SimpleSpanProcessor
} from '@opentelemetry/sdk-trace-node'
import { describe, expect, it, onTestFinished } from 'vitest'
import { withTracing } from '../../src/node/tracing.ts'
import { tcpNode } from '../fixtures/tcp-node.ts'

let spans = new InMemorySpanExporter()

/** From here on until the end of the test there is somebody who wants to see spans. */
function observe(): void {
  spans = new InMemorySpanExporter()
  const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] })
  provider.register()
  onTestFinished(async () => {
    await provider.shutdown()
    for (const api of [trace, context, propagation]) api.disable()
  })
}

const byName = (name: string): ReadableSpan => {
  const found = spans.getFinishedSpans().find((span) => span.name === name)
  if (found === undefined) throw new Error(`no span is named ${name}`)
  return found
}
const parentOf = (span: ReadableSpan): string | undefined => span.parentSpanContext?.spanId

describe('tracing', () => {
  it('tracing: without a provider the node is the one that it was', async () => {
    const node = await tcpNode()
    expect(await withTracing(node)).toBe(node)
  })

  it('tracing: a message carries the trace of its publisher to the handler on another node', async () => {
    observe()
    const publisher = await tcpNode()
    const subscriber = await tcpNode({ join: [...publisher.status().addresses] })
    const subscription = subscriber.subscribe('orders/#', { durable: 'billing' })
    const seen = new Promise<string | undefined>((resolve) => {
      subscription.onMessage((message) => {
        const active = trace.getSpan(context.active())?.spanContext()
        resolve(`${active?.traceId} ${message.headers['traceparent']}`)
      })
    })
    await subscription.ready
    const { id } = await publisher.publish('orders/created', { id: 7 }, { headers: { a: 'b' } })
    const [traceId, traceparent] = ((await seen) ?? '').split(' ')
    await subscription.stop()
    const publish = byName('publish orders')
    const process = byName('process orders')
    expect(traceparent).toBe(`00-${traceId}-${publish.spanContext().spanId}-01`)
    expect(process.spanContext().traceId).toBe(publish.spanContext().traceId)
    expect(parentOf(process)).toBe(publish.spanContext().spanId)
    expect(publish.attributes).toMatchObject({
      'messaging.system': 'skein',
      'messaging.destination.name': 'orders/created',
      'messaging.message.id': id
    })
    expect(process.attributes).toMatchObject({ 'messaging.consumer.group.name': 'billing' })
  })

  it('tracing: a batch is one span, whose context each message carries beside its own headers', async () => {
    observe()
    const node = await tcpNode()
    const subscription = node.subscribe('a/#')
    await subscription.ready
    await node.publishBatch([
      { topic: 'a/1', data: '1', headers: { own: '1' } },
      { topic: 'a/2', data: '2' }
    ])
    const [first, second] = await subscription.pull(2, 5000)
    const { spanId } = byName('publish a').spanContext()
    expect(first?.headers).toMatchObject({
      own: '1',
      traceparent: expect.stringContaining(spanId) as string
    })
    expect(second?.headers['traceparent']).toBe(first?.headers['traceparent'])
  })

  it('tracing: a request is a span at who asks and one at who answers, errors included', async () => {
    observe()
    const node = await tcpNode()
    node.reply('price', (request) => {
      if (request.text() === 'odd') throw new Error('no price')
      return request.headers['traceparent'] ?? ''
    })
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    const reply = await node.request('price', 'even', { headers: { traceparent } })
    const [client, server] = ['CLIENT', 'SERVER'].map((_, at) =>
      spans.getFinishedSpans().find((span) => span.kind === 2 - at)
    ) as [ReadableSpan, ReadableSpan]
    expect(parentOf(client)).toBe('b7ad6b7169203331')
    expect(parentOf(server)).toBe(client.spanContext().spanId)
    expect(reply.text()).toContain(client.spanContext().spanId)
    spans.reset()
    await expect(node.request('price', 'odd')).rejects.toMatchObject({ code: 'ERR_RESPONDER' })
    expect(spans.getFinishedSpans().map((span) => span.status)).toEqual([
      { code: 2, message: 'no price' },
      { code: 2, message: expect.stringContaining('no price') as string }
    ])
  })

  it('tracing: a request for many replies is one span until the last, and what else a node does is as before', async () => {
    observe()
    const node = await tcpNode()
    node.reply('count', async function* () {
      yield '1'
      yield '2'
    })
    const replies: string[] = []
    for await (const reply of node.requestMany('count', '')) {
      expect(spans.getFinishedSpans().filter((span) => span.kind === 2)).toHaveLength(0)
      replies.push(reply.text())
    }
    expect(replies).toEqual(['1', '2'])
    expect(spans.getFinishedSpans().filter((span) => span.kind === 2)).toHaveLength(1)
    expect(node.status()).toMatchObject({ name: node.name, peerId: node.peerId })
    const subscription = node.subscribe('b/#')
    await subscription.ready
    await node.publish('b/c', 'x')
    for await (const message of subscription) {
      expect(message.text()).toBe('x')
      break
    }
  })
})
