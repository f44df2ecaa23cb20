import { spawn, spawnSync } from 'node:child_process'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { skipFor } from '../fixtures/needs.ts'
import { TOKEN, connected, mqttNode, mqttPair, rawClient, until } from './mqtt-client.ts'

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
    const seen = sub.packets.map(({ payload, qos, retain }) => [payload.toString(), qos, retain])
    expect(seen).toEqual([
      ['at 0', 0, false],
      ['at 1', 1, false],
      ['at 2', 2, false]
    ])
    expect(low.packets.map(({ qos }) => qos)).toEqual([0, 0, 0])
    expect(await b.metric('skein_mqtt_received_messages_total{qos="2"}')).toBe(1)
    expect(await a.metric('skein_mqtt_sent_messages_total{qos="0"}')).toBe(4)
    expect(await a.metric('skein_mqtt_connections')).toBe(2)
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

  it.each([
    [1, 'puback'],
    [2, 'pubrec']
  ] as const)(
    'QoS %i is acknowledged after the node has confirmed it, not before',
    async (qos, cmd) => {
      const served = await mqttNode()
      const client = await rawClient(served)
      let confirm = (): void => {}
      const publish = vi.spyOn(served.node, 'publish').mockImplementation(
        () =>
          new Promise((resolve) => {
            confirm = () => resolve({ id: 'x', sequence: 1, time: new Date() })
          })
      )
      const message = { topic: 'x', payload: 'x', qos, messageId: 7, dup: false, retain: false }
      client.send({ cmd: 'publish', ...message })
      await until(() => publish.mock.calls.length === 1)
      expect(publish.mock.calls[0]?.[2]).toMatchObject({ confirm: 'stored', retain: false })
      const other = await connected(served)
      await other.client.subscribeAsync('y')
      expect(client.packets.map((packet) => packet.cmd)).toEqual(['connack'])
      confirm()
      expect(await client.received(cmd)).toMatchObject([{ messageId: 7 }])
    }
  )

  it('what other doors publish comes with QoS 1; empty levels and empty payloads pass', async () => {
    const { node, url } = await mqttNode()
    const { client, packets } = await connected({ url })
    await client.subscribeAsync(['/+', 'a//b'], { qos: 2 })
    await node.publish('/', new Uint8Array())
    await node.publish('a//b', 'x')
    await until(() => packets.length === 2)
    expect(packets.map(({ topic, qos }) => [topic, qos])).toEqual([
      ['/', 1],
      ['a//b', 1]
    ])
  })

  it('who subscribes and publishes in one go gets the message; nothing comes after UNSUBACK', async () => {
    const { url } = await mqttNode()
    const { client, texts } = await connected({ url })
    const subscribed = client.subscribeAsync('echo', { qos: 1 })
    const published = client.publishAsync('echo', 'hello', { qos: 1 })
    await Promise.all([subscribed, published])
    await until(() => texts().length === 1)
    await client.unsubscribeAsync('echo')
    await client.publishAsync('echo', 'late', { qos: 1 })
    await client.subscribeAsync('echo', { qos: 1 })
    await client.publishAsync('echo', 'again', { qos: 1 })
    await until(() => texts().length === 2)
    expect(texts()).toEqual(['hello', 'again'])
  })

  it('overlapping filters bring a message once for each, with the QoS of each', async () => {
    const { url } = await mqttNode()
    const { client, packets } = await connected({ url })
    await client.subscribeAsync({ 'a/#': { qos: 2 }, 'a/+': { qos: 1 }, 'a/b': { qos: 0 } })
    await client.publishAsync('a/b', 'x', { qos: 2 })
    await until(() => packets.length === 3)
    expect(packets.map(({ qos }) => qos).toSorted((one, other) => one - other)).toEqual([0, 1, 2])
  })

  it('order is kept among thousands of messages in flight', async () => {
    const [a, b] = await mqttPair()
    const [sub, pub] = [await connected(a), await connected(b)]
    await sub.client.subscribeAsync('row', { qos: 1 })
    const count = 2000
    const numbers = Array.from({ length: count }, (_, at) => String(at))
    await Promise.all(numbers.map((text) => pub.client.publishAsync('row', text, { qos: 1 })))
    await until(() => sub.packets.length === count)
    expect(sub.texts()).toEqual(numbers)
  })
})

describe('mqtt: retained messages', () => {
  it('are given to new subscriptions on any node, with the flag, and live ones without it', async () => {
    const [a, b] = await mqttPair()
    const [pub, early] = [await connected(a), await connected(b)]
    await early.client.subscribeAsync('state/#', { qos: 1 })
    await pub.client.publishAsync('state/door', 'open', { qos: 1, retain: true })
    await pub.client.publishAsync('state/door', 'shut', { qos: 1, retain: true })
    await pub.client.publishAsync('state/lamp', 'on', { qos: 0, retain: true })
    await until(() => early.packets.length === 3)
    expect(early.packets.every(({ retain }) => !retain)).toBe(true)
    await until(() =>
      b.node.topics().some(({ channel, messages }) => channel === '$retained' && messages >= 3)
    )
    const late = await connected(b)
    await late.client.subscribeAsync('state/+', { qos: 2 })
    await until(() => late.packets.length === 2)
    const seen = late.packets.map(({ topic, payload, qos, retain }) => [
      topic,
      { text: payload.toString(), qos, retain }
    ])
    expect(Object.fromEntries(seen)).toEqual({
      'state/door': { text: 'shut', qos: 1, retain: true },
      'state/lamp': { text: 'on', qos: 0, retain: true }
    })
  })

  it('from before a subscription come with the flag when its node hears of them later', async () => {
    const a = await mqttNode({ name: 'a' })
    const pub = await connected(a)
    await pub.client.publishAsync('state/door', 'open', { qos: 1, retain: true })
    const b = await mqttNode({ name: 'b' })
    const sub = await connected(b)
    await sub.client.subscribeAsync('state/#', { qos: 1 })
    await mqttNode({
      name: 'c',
      join: [...a.node.status().addresses, ...b.node.status().addresses]
    })
    await until(() => sub.packets.length > 0)
    await until(() => b.node.peers().some(({ connected: isConnected }) => isConnected))
    await pub.client.publishAsync('state/door', 'shut', { qos: 1, retain: true })
    await until(() => sub.packets.length === 2)
    expect(sub.packets.map(({ payload, retain }) => [payload.toString(), retain])).toEqual([
      ['open', true],
      ['shut', false]
    ])
  })

  it('are cleared by an empty one, and come again at each SUBSCRIBE', async () => {
    const { url } = await mqttNode()
    const { client, packets } = await connected({ url })
    await client.publishAsync('a', '1', { qos: 1, retain: true })
    await client.publishAsync('b', '2', { qos: 1, retain: true })
    await client.publishAsync('a', '', { qos: 1, retain: true })
    await client.subscribeAsync('#', { qos: 0 })
    await until(() => packets.length === 1)
    await client.subscribeAsync('#', { qos: 0 })
    await until(() => packets.length === 2)
    expect(packets.map(({ topic, retain }) => [topic, retain])).toEqual([
      ['b', true],
      ['b', true]
    ])
  })
})

describe('mqtt: wills', () => {
  const will = (qos: 0 | 1 | 2) => ({
    topic: 'wills/x',
    payload: Buffer.from(`gone ${qos}`),
    qos,
    retain: qos === 1
  })

  it('are published when a connection breaks, and not when it is closed in order', async () => {
    const [a, b] = await mqttPair()
    const watch = await connected(b)
    await watch.client.subscribeAsync('wills/#', { qos: 2 })
    for (const qos of [0, 1, 2] as const) {
      const broken = await connected(a, { will: will(qos) })
      broken.client.stream.destroy()
      await until(() => watch.texts().includes(`gone ${qos}`))
    }
    const orderly = await connected(a, { will: { ...will(1), payload: Buffer.from('never') } })
    await orderly.client.endAsync()
    await (await connected(a)).client.publishAsync('wills/x', 'end', { qos: 1 })
    await until(() => watch.texts().includes('end'))
    expect(watch.packets.map(({ payload, qos }) => [payload.toString(), qos])).toEqual([
      ['gone 0', 0],
      ['gone 1', 1],
      ['gone 2', 2],
      ['end', 1]
    ])
  })

  it('of those who are connected are published when the node stops', async () => {
    const [a, b] = await mqttPair()
    const watch = await connected(b)
    await watch.client.subscribeAsync('wills/#', { qos: 1 })
    await connected(a, { will: will(1) })
    await a.stop()
    await until(() => watch.packets.length === 1)
    expect(watch.texts()).toEqual(['gone 1'])
  })
})

const lack = (): string | undefined =>
  ['mosquitto_sub', 'mosquitto_pub'].some((name) => spawnSync(name, ['--help']).error)
    ? 'no mosquitto_sub and mosquitto_pub (mosquitto-clients)'
    : undefined

describe('mqtt: stock clients', () => {
  it('mosquitto_sub beside one node gets what mosquitto_pub beside another sends', async (context) => {
    skipFor(lack(), context)
    const [a, b] = await mqttPair()
    const at = ({ doors }: typeof a): string[] => {
      const [host = '', port = ''] = (doors.mqtt ?? '').split(':')
      return ['-h', host, '-p', port, '-u', 'any', '-P', TOKEN, '-V', 'mqttv311']
    }
    const options = ['-i', 'paper', '-c', '-q', '2', '-t', 'news/#', '-F', '%q %r %t %p']
    const sub = spawn('mosquitto_sub', [...at(a), ...options])
    onTestFinished(() => void sub.kill())
    let printed = ''
    sub.stdout.on('data', (chunk) => (printed += String(chunk)))
    await until(async () => (await a.node.subscriptions()).length === 1)
    for (const qos of ['0', '1', '2']) {
      const text = `hello ${qos}`
      const pub = spawn('mosquitto_pub', [
        ...at(b),
        '-q',
        qos,
        '-t',
        'news/today',
        '-m',
        text,
        '-r'
      ])
      const code = await new Promise((resolve) => pub.once('exit', resolve))
      expect(code).toBe(0)
    }
    await until(() => ['0', '1', '2'].every((qos) => printed.includes(`hello ${qos}`)))
    const lines = printed.trim().split('\n')
    expect(lines).toEqual([
      '0 0 news/today hello 0',
      '1 0 news/today hello 1',
      '2 0 news/today hello 2'
    ])
  })
})
