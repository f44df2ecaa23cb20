import { describe, expect, it } from 'vitest'
import { connected, mqttNode, mqttPair, until } from './mqtt-client.ts'

describe('mqtt', () => {
  it('a message of a client at one node reaches clients at another, with the lower of both QoS', async () => {
    const [a, b] = await mqttPair()
    const [sub, low, pub] = [await connected(a), await connected(a), await connected(b)]
    await sub.client.subscribeAsync('lamps/+/state', { qos: 2 })
    await low.client.subscribeAsync('lamps/#', { qos: 0 })
    for (const qos of [0, 1, 2] as const) {
      await pub.client.publishAsync('lamps/7/state', `at ${qos}`, { qos })
    }
    await until(() => sub.packets.length === 3 && low.packets.length === 3)
    expect(
      sub.packets.map(({ payload, qos, retain }) => [payload.toString(), qos, retain])
    ).toEqual([
      ['at 0', 0, false],
      ['at 1', 1, false],
      ['at 2', 2, false]
    ])
    expect(low.packets.map(({ qos }) => qos)).toEqual([0, 0, 0])
  })

  it('QoS 1 is acknowledged when the message is on disk, and other doors see it', async () => {
    const { node, url } = await mqttNode()
    const seen = node.subscribe('jobs/#')
    await seen.ready
    const { client } = await connected({ url })
    await client.publishAsync('jobs/1', 'mow', { qos: 1 })
    expect(node.status().published).toBe(1)
    const [message] = await seen.pull(1, 5000)
    expect(message).toMatchObject({ topic: 'jobs/1', headers: {} })
    expect(message?.text()).toBe('mow')
  })
})
