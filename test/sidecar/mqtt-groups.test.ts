import { describe, expect, it } from 'vitest'
import { connected, mqttNode, mqttPair, rawClient, until } from './mqtt-client.ts'

describe('mqtt: $share', () => {
  it('members at two nodes share what comes: each message goes to one, and none is lost', async () => {
    const [a, b] = await mqttPair()
    const members = [await connected(a), await connected(a), await connected(b)]
    for (const { client } of members) await client.subscribeAsync('$share/crew/jobs/#', { qos: 1 })
    const watch = await connected(b)
    await watch.client.subscribeAsync('jobs/#', { qos: 1 })
    const pub = await connected(b)
    const count = 120
    const jobs = Array.from({ length: count }, (_, at) => `job ${at}`)
    await Promise.all(jobs.map((job) => pub.client.publishAsync('jobs/new', job, { qos: 1 })))
    await until(() => watch.packets.length === count)
    await until(() => members.flatMap(({ packets }) => packets).length === count)
    expect(members.flatMap(({ texts }) => texts()).toSorted()).toEqual(jobs.toSorted())
    for (const { packets } of members) expect(packets.length).toBeGreaterThan(0)
    expect((await a.node.groups()).map(({ name }) => name)).toEqual(['crew'])
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

  it('a persistent session goes on as a member; library members take part', async () => {
    const { node, url } = await mqttNode()
    const options = { clean: false, clientId: 'worker' }
    const first = await connected({ url }, options)
    await first.client.subscribeAsync('$share/crew/jobs', { qos: 2 })
    await first.client.endAsync()
    await node.publish('jobs', 'waits')
    const second = await connected({ url }, options)
    expect(second.present).toBe(true)
    await until(() => second.packets.length === 1)
    await second.client.unsubscribeAsync('$share/crew/jobs')
    await node.publish('jobs', 'for the library')
    const member = node.subscribe('jobs', { group: 'crew' })
    const [message] = await member.pull(1, 8000)
    expect(message?.text()).toBe('for the library')
    await member.stop()
  })
})
