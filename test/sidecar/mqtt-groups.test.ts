import { describe, expect, it } from 'vitest'
import { connected, mqttNode, mqttPair, rawClient, until } from './mqtt-client.ts'

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
