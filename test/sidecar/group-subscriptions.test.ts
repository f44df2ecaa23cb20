import { describe, expect, it } from 'vitest'
import { eventually } from '../processes/skein-process.ts'
import { type Doors, endpoint, pushing } from './webhook-endpoint.ts'

const path = '/v1/subscriptions/g'
const pull = { method: 'POST', body: { max: 10, waitMs: 10_000 } }

async function members({ call }: Pick<Doors, 'call'>): Promise<number> {
  const [group] = (await call('/v1/groups')).body.groups
  return group.members.filter((one: { slots: number }) => one.slots > 0).length
}

describe('groups over HTTP', () => {
  it('a member pulls and acknowledges, as of a durable subscription', async () => {
    const { call, node } = await pushing()
    const body = { filter: 'jobs/#', group: true, maxDeliveries: 2 }
    const put = await call(path, { method: 'PUT', body })
    expect(put.status).toBe(201)
    expect(put.body).toMatchObject({ filter: 'jobs/#', group: 'g', open: true, inFlight: 0 })
    expect((await call(path, { method: 'PUT', body })).status).toBe(200)
    await node.publish('jobs/1', 'one')
    await node.publish('jobs/2', 'two')
    const { messages } = (await call(`${path}/pull`, pull)).body
    expect(messages.length).toBeGreaterThan(0)
    const [one] = messages
    const ack = { ack: [one.skeinid] }
    const done = await call(`${path}/ack`, { method: 'POST', body: ack })
    expect(done.body).toEqual({ acked: 1, nacked: 0 })
    const rest = messages[1] ?? (await call(`${path}/pull`, pull)).body.messages[0]
    const nack = { nack: [{ id: rest.skeinid }] }
    await call(`${path}/ack`, { method: 'POST', body: nack })
    const [again] = (await call(`${path}/pull`, pull)).body.messages
    expect(again).toMatchObject({ data: 'two', skeinattempt: 2 })
    expect((await call(path)).body.inFlight).toBe(1)
    const other = await call(path, { method: 'PUT', body: { filter: 'other', group: true } })
    expect(other.body.code).toBe('ERR_SUBSCRIPTION_CONFLICT')
    expect((await call(path, { method: 'DELETE' })).status).toBe(204)
    // The group goes on without this node.
    expect((await call(path)).body).toMatchObject({ group: 'g', open: false, lag: 1 })
    expect((await call(`${path}/pull`, pull)).body.messages[0]).toMatchObject({ data: 'two' })
  })

  it.each([
    [{ filter: 'a', onPartition: 'available' }, 'onPartition'],
    [{ filter: 'a', group: 'g' }, 'group'],
    [{ filter: 'a', group: true, onPartition: { majority: 1 } }, 'onPartition.majority'],
    [{ filter: 'a', group: true, from: 'last' }, 'from'],
    [{ filter: 'a', group: true, where: [{ exact: { key: 'k' } }] }, 'where']
  ])('%o is refused, naming the option', async (body, option) => {
    const { call } = await pushing()
    const put = await call(path, { method: 'PUT', body })
    expect([put.status, put.body.details.option]).toEqual([400, option])
  })

  it('webhooks of two nodes share a group’s messages, and one takes over when the other one’s endpoint is gone', async () => {
    const a = await pushing()
    const b = await pushing({ join: [...a.node.status().addresses] })
    const [hookA, hookB] = [await endpoint(), await endpoint()]
    const register = (doors: Doors, webhook: string): Promise<{ status: number }> =>
      doors.call(path, { method: 'PUT', body: { filter: 'jobs', group: true, webhook } })
    expect((await register(a, hookA.url)).status).toBe(201)
    await eventually(() => b.node.peers().some(({ connected }) => connected))
    expect((await register(b, hookB.url)).status).toBe(201)
    await eventually(async () => (await members(a)) === 2)
    const count = 60
    for (let n = 0; n < count; n++) await a.node.publish('jobs', String(n), { key: `k${n}` })
    const got = (): string[] => [...hookA.got, ...hookB.got].map(({ text }) => text)
    await eventually(() => got().length >= count)
    expect(hookA.got.length).toBeGreaterThan(0)
    expect(hookB.got.length).toBeGreaterThan(0)
    expect(got().toSorted()).toEqual(Array.from({ length: count }, (_, n) => `${n}`).toSorted())
    await hookB.close()
    for (let n = 0; n < 20; n++) await b.node.publish('jobs', `more ${n}`, { key: `k${n}` })
    await eventually(() => got().length === count + 20)
    const [group] = (await b.call('/v1/groups')).body.groups
    expect(group.webhook.state).toBe('failing')
  })
})
