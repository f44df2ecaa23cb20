import { describe, expect, it } from 'vitest'
import type { Logger } from '../../src/core/logger.ts'
import { tcpNode } from '../fixtures/tcp-node.ts'

describe('node losses', () => {
  it('losses: a dead letter is in the log with the id of its message, and without what it says', async () => {
    const lines: Array<readonly [object, string]> = []
    const log = (fields: object, text: string): void => void lines.push([fields, text])
    const logger: Logger = {
      error: log,
      warn: log,
      info: () => {},
      debug: () => {},
      child: () => logger
    }
    const node = await tcpNode({ logger })
    const subscription = node.subscribe('orders/#', { durable: 'billing', maxDeliveries: 1 })
    await subscription.ready
    const put = new Promise((resolve) => node.on('dead-letter', resolve))
    const { id } = await node.publish('orders/new', 'secret', { key: 'hidden' })
    const [message] = await subscription.pull(1, 10_000)
    await message?.nack()
    await put
    const losses = lines.filter(([, text]) => text.includes('dead letter'))
    expect(losses.map(([fields]) => fields)).toEqual([
      { message: id, topic: 'orders/new', subscription: 'billing', attempts: 1, reason: 'nack' }
    ])
    expect(JSON.stringify(lines)).not.toMatch(/secret|hidden/)
  })
})
