import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect as connectSocket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { SkeinError } from '../../src/core/errors.ts'
import { LIMITS } from '../../src/core/limits.ts'
import { type Logger, silentLogger } from '../../src/core/logger.ts'
import { serve } from '../../src/sidecar/index.ts'
import { TOKEN, connected, mqttNode, rawClient, rawSocket, until } from './mqtt-client.ts'

const closedFor = (reason: string): string =>
  `skein_mqtt_closed_connections_total{reason="${reason}"}`

describe('mqtt: who comes in', () => {
  it('any user name with the API token as password; nobody else', async () => {
    const served = await mqttNode()
    await connected(served, { username: 'whoever' })
    for (const options of [
      { password: 'wrong' },
      { password: '' },
      { username: '', password: '' }
    ]) {
      const refused = connected(served, { clientId: 'guest', ...options })
      await expect(refused).rejects.toMatchObject({ code: 4 })
    }
    expect(await served.metric(closedFor('bad password'))).toBe(3)
  })

  it('without a token everybody, on loopback only', async () => {
    const served = await mqttNode({}, { insecureApi: true })
    await connected(served, { username: '', password: '' })
    const open = serve(served.node, { http: '127.0.0.1:0', mqtt: '0.0.0.0:0', insecureApi: true })
    await expect(open).rejects.toMatchObject({ code: 'ERR_OPTIONS' })
    const taken = serve(served.node, { http: '127.0.0.1:0', mqtt: served.doors.mqtt })
    await expect(taken).rejects.toMatchObject({
      code: 'ERR_LISTEN',
      details: { host: '127.0.0.1' }
    })
  })

  it('whoever does not begin with CONNECT is cut off at its first byte', async () => {
    const served = await mqttNode()
    for (const text of ['GET / HTTP/1.1\r\n', '\u0000', '\u0030\u0000']) {
      const { isOpen, socket } = await rawSocket(served)
      socket.write(text)
      await until(() => !isOpen())
    }
    expect(await served.metric(closedFor('not connect'))).toBe(3)
  })

  it('a packet that is too large ends the connection before it is read, and one of MQTT 5 is refused', async () => {
    const served = await mqttNode()
    const large = await rawClient(served)
    large.socket.write(Buffer.from([0x30, 0xff, 0xff, 0xff, 0x7f]))
    await until(() => !large.isOpen())
    const five = connected(served, { protocolVersion: 5 })
    await expect(five).rejects.toThrow(/refused|closed|Unacceptable/i)
    const nameless = await rawSocket(served)
    // CONNECT with a user name and a password, without a clean session and without a client id.
    const head = [0x10, 0, 0, 4, ...Buffer.from('MQTT'), 4, 0xc0, 0, 0, 0, 0, 0, 1, 0x78]
    const packet = Buffer.from([...head, 0, TOKEN.length, ...Buffer.from(TOKEN)])
    packet[1] = packet.length - 2
    nameless.socket.write(packet)
    expect(await nameless.received('connack')).toMatchObject([{ returnCode: 2 }])
    await until(() => !nameless.isOpen())
    expect(await served.metric(closedFor('packet too large'))).toBe(1)
    expect(await served.metric(closedFor('bad client id'))).toBe(1)
  })

  it('the largest payload passes', async () => {
    const served = await mqttNode()
    const { client, packets } = await connected(served)
    await client.subscribeAsync('x', { qos: 1 })
    await client.publishAsync('x', randomBytes(LIMITS.payloadBytes), { qos: 1 })
    await until(() => packets.length === 1)
    expect(packets[0]?.payload).toHaveLength(LIMITS.payloadBytes)
  })

  it('a client that keeps silent longer than it said is closed, with its will', async () => {
    const served = await mqttNode()
    const watch = await connected(served)
    await watch.client.subscribeAsync('gone', { qos: 1 })
    const will = { topic: 'gone', payload: Buffer.from('silent'), qos: 1, retain: false } as const
    const { isOpen } = await rawClient(served, { keepalive: 1, will })
    await until(() => !isOpen())
    await until(() => watch.packets.length === 1)
    expect(await served.metric(closedFor('keep alive'))).toBe(1)
  })

  it('random bytes behind a CONNECT end connections, and nothing else', async () => {
    const served = await mqttNode()
    const count = process.env['SKEIN_TEST_FULL'] === '1' ? 2000 : 50
    for (let at = 0; at < count; at++) {
      const client = await rawClient(served, { clientId: `fuzz-${at % 3}`, clean: at % 2 === 0 })
      client.socket.end(randomBytes(1 + (at % 300)))
      await until(() => !client.isOpen())
    }
    const { client, packets } = await connected(served)
    await client.subscribeAsync('x', { qos: 2 })
    await client.publishAsync('x', 'alive', { qos: 2 })
    await until(() => packets.length === 1)
    expect(await served.metric('skein_mqtt_connections')).toBe(1)
    expect(await served.metric(closedFor('protocol error'))).toBeLessThanOrEqual(count)
  }, 120_000)
})

describe('mqtt: what is not published', () => {
  it("a message to a topic of Skein's own is acknowledged, dropped and counted", async () => {
    const served = await mqttNode()
    const { client } = await connected(served)
    await client.publishAsync('$retained/x', 'x', { qos: 1 })
    await client.publishAsync('$SYS/x', 'x', { qos: 2 })
    await client.publishAsync('@someone/x', 'x', { qos: 1 })
    await client.publishAsync('$x', 'x', { qos: 0 })
    await until(
      async () =>
        (await served.metric('skein_mqtt_dropped_messages_total{reason="reserved"}')) === 4
    )
    expect(served.node.status().published).toBe(0)
  })

  it('what the node refuses is not acknowledged: the connection is closed, with a line in the log', async () => {
    const warn = vi.fn<Logger['warn']>()
    const served = await mqttNode({}, { logger: { ...silentLogger, warn } })
    for (const qos of [1, 2] as const) {
      const client = await rawClient(served)
      const topic = 'a/'.repeat(20)
      client.send({
        cmd: 'publish',
        topic,
        payload: 'x',
        qos,
        messageId: 9,
        dup: false,
        retain: false
      })
      await until(() => !client.isOpen())
      expect(client.packets.map(({ cmd }) => cmd)).toEqual(['connack'])
    }
    expect(warn).toHaveBeenCalledTimes(2)
    expect(warn.mock.calls[0]?.[0]).toMatchObject({ code: 'ERR_TOPIC', client: 'raw' })
    expect(await served.metric(closedFor('publish failed'))).toBe(2)
  })

  it('a full disk: QoS 1 closes the connection, QoS 0 is dropped and counted; afterwards all is well', async () => {
    const served = await mqttNode()
    const publish = vi.spyOn(served.node, 'publish')
    publish.mockRejectedValue(new SkeinError('ERR_STORE_FULL', 'no room'))
    const zero = await connected(served)
    await zero.client.publishAsync('x', 'x', { qos: 0 })
    await until(
      async () =>
        (await served.metric('skein_mqtt_dropped_messages_total{reason="unstored"}')) === 1
    )
    const one = await rawClient(served)
    one.send({
      cmd: 'publish',
      topic: 'x',
      payload: 'x',
      qos: 1,
      messageId: 9,
      dup: false,
      retain: false
    })
    await until(() => !one.isOpen())
    publish.mockRestore()
    await zero.client.publishAsync('x', 'x', { qos: 1 })
    expect(served.node.status().published).toBe(1)
  })

  it('a node that is too busy makes clients wait, and keeps their order', async () => {
    const served = await mqttNode()
    const { client, texts } = await connected(served)
    await client.subscribeAsync('x', { qos: 1 })
    const publish = vi.spyOn(served.node, 'publish')
    const busy = new SkeinError('ERR_BUSY', 'too much')
    publish.mockRejectedValueOnce(busy).mockRejectedValueOnce(busy).mockRejectedValueOnce(busy)
    const one = client.publishAsync('x', '1', { qos: 1 })
    await until(() => publish.mock.calls.length > 0)
    await Promise.all(['2', '3', '4'].map((text) => client.publishAsync('x', text, { qos: 1 })))
    await one
    await until(() => texts().length === 4)
    expect(texts()).toEqual(['1', '2', '3', '4'])
  })

  it('a filter that cannot be had is refused with 0x80, the others are granted', async () => {
    const served = await mqttNode()
    const client = await rawClient(served)
    const subscriptions = ['a', 'b/'.repeat(20), '$share/g', '$share/g/c', '$share/g/d'].map(
      (topic) => ({ topic, qos: 1 }) as const
    )
    for (const [messageId, subscription] of subscriptions.entries()) {
      client.send({ cmd: 'subscribe', messageId: messageId + 1, subscriptions: [subscription] })
      await client.received('suback', messageId + 1)
    }
    const granted = (await client.received('suback')).map((packet) => packet.granted)
    expect(granted).toEqual([[1], [128], [128], [1], [128]])
  })
})

describe('mqtt: slow clients', () => {
  it('lose nothing, and slow nobody', async () => {
    const dataDir = await mkdtemp(join(tmpdir(), 'skein-mqtt-'))
    onTestFinished(() => rm(dataDir, { recursive: true, force: true }))
    const served = await mqttNode({ dataDir })
    const slow = await rawClient(served)
    slow.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'x', qos: 0 }] })
    await slow.received('suback')
    slow.socket.pause()
    const quick = await connected(served)
    await quick.client.subscribeAsync('x', { qos: 1 })
    const [count, payload] = [200, Buffer.alloc(64 * 1024)]
    for (let at = 0; at < count; at += 20) {
      const some = Array.from({ length: 20 }, () => served.node.publish('x', payload))
      await Promise.all(some)
    }
    await until(
      async () => (await served.metric('skein_mqtt_sent_messages_total{qos="1"}')) === count
    )
    slow.socket.resume()
    expect(await slow.received('publish', count)).toHaveLength(count)
  })

  it('that acknowledge nothing get as many as may be in flight, and no more', async () => {
    const served = await mqttNode()
    const client = await rawClient(served)
    client.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'x', qos: 1 }] })
    await client.received('suback')
    const count = LIMITS.mqttInFlight + 50
    await Promise.all(
      Array.from({ length: count }, (_, at) => served.node.publish('x', String(at)))
    )
    const first = await client.received('publish', LIMITS.mqttInFlight)
    client.send({ cmd: 'pingreq' })
    await client.received('pingresp')
    expect(client.packets.filter(({ cmd }) => cmd === 'publish')).toHaveLength(LIMITS.mqttInFlight)
    for (const { messageId = 0 } of first) client.send({ cmd: 'puback', messageId })
    const all = await client.received('publish', count)
    expect(all.map(({ payload }) => Number(payload))).toEqual(
      Array.from({ length: count }, (_, at) => at)
    )
  })

  it('a node that stops before its doors ends the connections of its subscribers', async () => {
    const served = await mqttNode()
    const client = await rawClient(served)
    client.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: 'x', qos: 1 }] })
    await client.received('suback')
    await served.node.stop()
    await until(() => !client.isOpen())
    await served.stop()
    expect(client.packets.map(({ cmd }) => cmd)).toEqual(['connack', 'suback'])
  })

  it('a door that is closed lets go of its port and of silent connections', async () => {
    const served = await mqttNode()
    const { isOpen } = await rawSocket(served)
    const [host = '', port = ''] = (served.doors.mqtt ?? '').split(':')
    await served.stop()
    await until(() => !isOpen())
    const again = connectSocket({ host, port: Number(port) })
    const refused = new Promise((resolve) => again.once('error', resolve))
    expect(await refused).toMatchObject({ code: 'ECONNREFUSED' })
  })
})
