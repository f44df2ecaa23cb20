import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { type Connected, connected, mqttNode, mqttPair, rawClient, until } from './mqtt-client.ts'

const persistent = { clean: false, clientId: 'meter/7' }

async function tempFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'skein-mqtt-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  return folder
}

const byText = (one: string, other: string): number => one.localeCompare(other)

/** Breaks a connection as a lost network does. */
function cut({ client }: Connected): void {
  client.stream.destroy()
}

describe('mqtt: persistent sessions', () => {
  it('end with a node that stops before its door, as one does whose disk is broken', async () => {
    const { node, url } = await mqttNode({ dataDir: await tempFolder() })
    const { client } = await connected({ url }, { ...persistent, reconnectPeriod: 0 })
    await client.subscribeAsync('meter/#', { qos: 1 })
    await client.publishAsync('meter/a', '1', { qos: 1 })
    await node.stop()
    await until(() => !client.connected)
    expect(node.status().ready).toBe(false)
  })

  it('get what was published while they were off, from another node, and go on where they were', async () => {
    const [a, b] = await mqttPair()
    const first = await connected(a, persistent)
    expect(first.present).toBe(false)
    await first.client.subscribeAsync({ 'meter/#': { qos: 1 }, 'other/+': { qos: 2 } })
    const pub = await connected(b)
    await pub.client.publishAsync('meter/a', '1', { qos: 1 })
    await until(() => first.packets.length === 1)
    await first.client.endAsync()
    await pub.client.publishAsync('meter/a', '2', { qos: 1 })
    await pub.client.publishAsync('other/b', '3', { qos: 2 })
    const second = await connected(a, persistent)
    expect(second.present).toBe(true)
    await until(() => second.packets.length === 2)
    expect(
      second.packets.map(({ payload, qos }) => `${String(payload)} ${qos}`).toSorted(byText)
    ).toEqual(['2 1', '3 2'])
    const [subscription] = (await a.node.subscriptions()).filter(
      ({ filter }) => filter === 'meter/#'
    )
    expect(subscription).toMatchObject({
      durable: 'mqtt:meter%2F7:meter%2F%23:1',
      open: true,
      limits: { maxDeliveries: 0 }
    })
  })

  it('survive a restart of the node, with their filters, QoS and unread messages', async () => {
    const options = { dataDir: await tempFolder() }
    const before = await mqttNode(options)
    const first = await connected(before, persistent)
    await first.client.subscribeAsync({ 'x/#': { qos: 1 }, y: { qos: 0 } })
    await first.client.endAsync()
    await before.node.publish('x/1', 'kept')
    await before.stop()
    const after = await mqttNode(options)
    await after.node.publish('y', 'new')
    const second = await connected(after, persistent)
    expect(second.present).toBe(true)
    await until(() => second.packets.length === 2)
    expect(
      second.packets.map(({ payload, qos }) => `${String(payload)} ${qos}`).toSorted(byText)
    ).toEqual(['kept 1', 'new 0'])
  })

  it('hand over again what was not acknowledged, with the same packet id and the DUP flag', async () => {
    const served = await mqttNode()
    const { node } = served
    const first = await rawClient(served, persistent)
    first.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'x', qos: 2 }] })
    await first.received('suback')
    await node.publish('x', 'one')
    await node.publish('x', 'two', { headers: { mqttqos: '2' } })
    await node.publish('x', 'three', { headers: { mqttqos: '2' } })
    const sent = await first.received('publish', 3)
    // Of the third it says that it has it, and hears nothing more.
    first.send({ cmd: 'pubrec', messageId: sent[2]?.messageId as number })
    await first.received('pubrel')
    first.socket.destroy()
    const second = await rawClient(served, persistent)
    expect(await second.received('pubrel')).toMatchObject([{ messageId: sent[2]?.messageId }])
    const again = await second.received('publish', 2)
    expect(
      again.map(({ payload, messageId, dup }) => [payload.toString(), messageId, dup])
    ).toEqual([
      ['one', sent[0]?.messageId, true],
      ['two', sent[1]?.messageId, true]
    ])
    second.send({ cmd: 'pubcomp', messageId: sent[2]?.messageId as number })
    second.send({ cmd: 'puback', messageId: sent[0]?.messageId as number })
    second.send({ cmd: 'pubrec', messageId: sent[1]?.messageId as number })
    await second.received('pubrel', 2)
    second.send({ cmd: 'pubcomp', messageId: sent[1]?.messageId as number })
    await until(async () => (await node.subscriptions())[0]?.lag === 0)
    expect(second.packets.filter(({ cmd }) => cmd === 'publish')).toHaveLength(2)
  })

  it('end with UNSUBSCRIBE and with a clean connection, and what waits goes with them', async () => {
    const { node, url } = await mqttNode()
    const first = await connected({ url }, persistent)
    await first.client.subscribeAsync(['a', 'b'], { qos: 1 })
    await first.client.unsubscribeAsync('a')
    expect((await node.subscriptions()).map(({ filter }) => filter)).toEqual(['b'])
    await first.client.endAsync()
    await node.publish('b', 'lost')
    const clean = await connected({ url }, { ...persistent, clean: true })
    expect(clean.present).toBe(false)
    expect(await node.subscriptions()).toEqual([])
    await clean.client.endAsync()
    const last = await connected({ url }, persistent)
    expect(last.present).toBe(false)
  })

  it('keep what waits when a filter is asked for with another QoS', async () => {
    const { node, url } = await mqttNode()
    const first = await connected({ url }, persistent)
    await first.client.subscribeAsync('x', { qos: 0 })
    await first.client.endAsync()
    await node.publish('x', 'waits')
    const second = await connected({ url }, { ...persistent, customHandleAcks: () => {} })
    await second.client.subscribeAsync('x', { qos: 1 })
    await node.publish('x', 'live')
    cut(second)
    const third = await connected({ url }, persistent)
    await until(() => third.texts().includes('live'))
    expect(third.packets.every(({ qos }) => qos === 1)).toBe(true)
    expect((await node.subscriptions()).map(({ durable }) => durable)).toEqual([
      'mqtt:meter%2F7:x:1'
    ])
  })

  it('a client id that connects again takes over, and the first connection is closed', async () => {
    const { metric, node, url } = await mqttNode()
    const first = await connected({ url }, persistent)
    await first.client.subscribeAsync('x', { qos: 1 })
    const second = await connected({ url }, persistent)
    await until(() => !first.client.connected)
    expect(second.present).toBe(true)
    await node.publish('x', 'one')
    await until(() => second.packets.length === 1)
    expect(first.packets).toEqual([])
    expect(await metric('skein_mqtt_closed_connections_total{reason="taken over"}')).toBe(1)
  })

  it('a QoS 2 message that is sent again after a broken connection is published once', async () => {
    const served = await mqttNode()
    const { node } = served
    const seen = node.subscribe('x')
    await seen.ready
    const head = { topic: 'x', qos: 2, messageId: 77, dup: false, retain: false } as const
    const packet = { ...head, cmd: 'publish', payload: 'once' } as const
    const first = await rawClient(served, persistent)
    first.send(packet)
    first.send(packet)
    await first.received('pubrec', 2)
    first.socket.destroy()
    const second = await rawClient(served, persistent)
    second.send({ ...packet, dup: true })
    await second.received('pubrec')
    second.send({ cmd: 'pubrel', messageId: 77 })
    await second.received('pubcomp')
    await node.publish('x', 'end')
    await until(() => node.status().published === 2)
    const messages = [...(await seen.pull(9, 5000)), ...(await seen.pull(9, 100))]
    expect(messages.map((message) => message.text())).toEqual(['once', 'end'])
  })
})

describe('mqtt: $share', () => {
  it('clients of one node and the library at another share what comes, and nothing is lost', async () => {
    const [a, b] = await mqttPair()
    const clients = [await connected(a), await connected(a)]
    for (const { client } of clients) await client.subscribeAsync('$share/crew/jobs/#', { qos: 1 })
    const member = b.node.subscribe('jobs/#', { group: 'crew' })
    const done: string[] = []
    member.onMessage((message) => void done.push(message.text()))
    await member.ready
    const pub = await connected(b)
    const count = 120
    const jobs = Array.from({ length: count }, (_, at) => `job ${at}`)
    await Promise.all(jobs.map((job) => pub.client.publishAsync('jobs/new', job, { qos: 1 })))
    const all = (): string[] => [...done, ...clients.flatMap((client) => client.texts())]
    await until(() => all().length === count)
    expect(all().toSorted()).toEqual(jobs.toSorted())
    for (const { packets } of clients) expect(packets.length).toBeGreaterThan(0)
    expect(done.length).toBeGreaterThan(0)
    await member.stop()
  })

  it('what a client has not acknowledged goes to another when it goes', async () => {
    const served = await mqttNode()
    const stuck = await rawClient(served)
    stuck.send({
      cmd: 'subscribe',
      messageId: 1,
      subscriptions: [{ topic: '$share/crew/jobs', qos: 1 }]
    })
    await stuck.received('suback')
    await served.node.publish('jobs', 'dropped')
    await stuck.received('publish')
    const other = await connected(served)
    await other.client.subscribeAsync('$share/crew/jobs', { qos: 1 })
    stuck.socket.destroy()
    await until(() => other.packets.length === 1)
    expect(other.packets[0]).toMatchObject({ topic: 'jobs', qos: 1, dup: true })
  })

  it('a persistent session goes on as a member', async () => {
    const { node, url } = await mqttNode()
    const options = { clean: false, clientId: 'worker' }
    const first = await connected({ url }, options)
    await first.client.subscribeAsync('$share/crew/jobs', { qos: 2 })
    await first.client.endAsync()
    await node.publish('jobs', 'waits')
    const second = await connected({ url }, options)
    expect(second.present).toBe(true)
    await until(() => second.packets.length === 1)
  })
})
