// A step of a pipeline, as docs/patterns.md has it: takes orders, publishes invoices. It kills itself between the output
// for one of them and its acknowledgement, where it is told to.
import { createNode } from '../../src/index.ts'
import { silentLogger } from '../../src/core/logger.ts'

const [dataDir = '', mesh = '', address = '', killAt = ''] = process.argv.slice(2)

const node = await createNode({
  dataDir,
  mesh,
  name: 'billing',
  mdns: false,
  listen: ['/ip4/127.0.0.1/tcp/0'],
  join: [address],
  logger: silentLogger
})
const orders = node.subscribe('orders/#', { durable: 'billing' })
await orders.ready
process.send?.('ready')

for await (const order of orders) {
  await node.publish('invoices/plain', order.json<number>())
  await node.publish('invoices/once', order.json<number>(), { id: order.id })
  if (order.text() === killAt) process.kill(process.pid, 'SIGKILL')
  await order.ack()
  process.send?.(`${order.text()} ${order.attempt}`)
}
