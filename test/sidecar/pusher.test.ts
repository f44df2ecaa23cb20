import { describe, expect, it } from 'vitest'
import { silentLogger } from '../../src/core/logger.ts'
import type { Subscription } from '../../src/node/contract.ts'
import { Pusher } from '../../src/sidecar/webhooks/pusher.ts'
import { webhookSchema } from '../../src/sidecar/webhooks/webhook.ts'
import { tcpNode } from '../fixtures/tcp-node.ts'
import { endpoint } from './webhook-endpoint.ts'

const retry = { minMs: 1, maxMs: 1 }

/** A promise that the test settles. */
function pending<Value = void>(): { promise: Promise<Value>; resolve: (value: Value) => void } {
  let resolve: (value: Value) => void = () => {}
  const promise = new Promise<Value>((settle) => {
    resolve = settle
  })
  return { promise, resolve }
}

describe('webhooks: one pusher', () => {
  it('pusher: one that is stopped while its subscription is being opened ends when it is open', async () => {
    const node = await tcpNode()
    const opening = pending<Subscription>()
    const pusher = new Pusher(
      {
        open: () => opening.promise,
        close: (subscription) => subscription.stop(),
        logger: silentLogger,
        onPushed: () => {}
      },
      {
        name: 'a',
        webhook: webhookSchema.parse('http://127.0.0.1:1/'),
        retry,
        paused: undefined,
        onPaused: async () => {}
      }
    )
    pusher.resume()
    const stopped = pusher.stop(1000)
    const subscription = node.subscribe('x', { durable: 'a', ack: 'manual' })
    await subscription.ready
    opening.resolve(subscription)
    await stopped
    expect(pusher.inFlight).toBe(0)
  })

  it('pusher: one that was told to push no more ends when that is noted', async () => {
    const node = await tcpNode()
    const hook = await endpoint()
    hook.answer = (_got, response) => void response.writeHead(410).end()
    const subscription = node.subscribe('x', { durable: 'a', ack: 'manual' })
    await subscription.ready
    await node.publish('x', '1')
    const [noting, noted] = [pending(), pending()]
    const pusher = new Pusher(
      {
        open: () => Promise.resolve(subscription),
        close: (open) => open.stop(),
        logger: silentLogger,
        onPushed: () => {}
      },
      {
        name: 'a',
        webhook: webhookSchema.parse(hook.url),
        retry,
        paused: undefined,
        onPaused: () => {
          noting.resolve()
          return noted.promise
        }
      }
    )
    await pusher.start()
    await noting.promise
    let isNoted = false
    const stopped = pusher.stop(1000).then(() => expect(isNoted).toBe(true))
    // Whoever does not wait for it is done by then.
    await new Promise((resolve) => setImmediate(resolve))
    isNoted = true
    noted.resolve()
    await stopped
  })
})
