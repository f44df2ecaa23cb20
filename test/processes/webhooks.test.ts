import { expect, it, onTestFinished } from 'vitest'
import { endpoint } from '../sidecar/webhook-endpoint.ts'
import { NodeProcess, eventually, randomMesh, temporaryFolder } from './skein-process.ts'

it('webhooks: a node that is killed while it pushes goes on at its next start, and loses nothing', async () => {
  const folder = await temporaryFolder(onTestFinished)
  const args = ['--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0', '--mesh', randomMesh()]
  const node = new NodeProcess(folder, args)
  onTestFinished(async () => void (await node.kill()))
  const call = (method: string, path: string, body: unknown): Promise<Response> =>
    fetch(`${node.ready.api}${path}`, {
      method,
      body: JSON.stringify(body),
      headers: { authorization: `Bearer ${node.token}`, 'content-type': 'application/json' }
    })
  const [hook, price] = [await endpoint(), await endpoint()]
  // Silent, as one that hangs.
  hook.answer = () => {}
  price.answer = (_got, response) => void response.end('7')
  await node.start()
  const webhook = { url: hook.url, concurrency: 2, headers: { authorization: 'Bearer x' } }
  await call('PUT', '/v1/subscriptions/s', { filter: 'a', webhook })
  await call('PUT', '/v1/services/price', { webhook: price.url })
  for (let n = 1; n <= 5; n++) await call('POST', '/v1/publish/a', n)
  await hook.received(2)
  await node.kill()
  hook.answer = (_got, response) => void response.writeHead(204).end()
  await node.start()
  expect(await (await call('POST', '/v1/request/price', {})).text()).toBe('7')
  const got = await hook.received(7)
  expect(got.map(({ text }) => text).toSorted()).toEqual(['1', '1', '2', '2', '3', '4', '5'])
  expect(got.slice(2).every(({ headers }) => headers.authorization === 'Bearer x')).toBe(true)
  await eventually(async () => {
    const status = await fetch(`${node.ready.api}/v1/subscriptions/s`, {
      headers: { authorization: `Bearer ${node.token}` }
    })
    return ((await status.json()) as { lag: number }).lag === 0
  })
}, 60_000)
