import { describe, expect, it } from 'vitest'
import { simulate } from '../../simulations/index.ts'
import { parseScenario } from '../../simulations/scenario/parse.ts'

const scenario = parseScenario(
  `
description: A shop and a warehouse that loses power.
nodes: [shop, warehouse]
workload:
  publishers:
    - { nodes: shop, topic: 'orders/{n%4}', rate: 20, from: 1s, until: 6s }
  subscriptions:
    - { nodes: warehouse, filter: 'orders/#', durable: picking }
    - { nodes: shop, filter: 'picked/#', durable: done }
timeline:
  - { at: 3s, lose-unsynced-writes: warehouse, for: 1s }
end: 8s
expect:
  delivered: { picking: 100 }
`,
  { file: 'handlers.yaml' }
)

describe('simulations: handlers of an application', () => {
  it('run in simulated time, and can publish', async () => {
    const orders = new Set<string>()
    const done = new Set<unknown>()
    const report = await simulate(scenario, {
      handlers: {
        picking: async (message, app) => {
          orders.add(message.id)
          const before = app.now()
          await app.delay(5)
          expect(app.now() - before).toBe(5)
          await app.publish('picked/one', { order: message.id })
        },
        done: (message) => {
          done.add(message.json<{ order: string }>().order)
        }
      }
    })
    expect(report.violations).toEqual([])
    expect(orders.size).toBe(100)
    expect(done).toEqual(orders)
  })

  it('get a message again when they fail', async () => {
    const attempts = new Map<string, number[]>()
    const report = await simulate(scenario, {
      handlers: {
        picking: ({ attempt, id, sequence }) => {
          attempts.set(id, [...(attempts.get(id) ?? []), attempt])
          if (sequence === 7 && attempt === 1) throw new Error('not now')
        }
      }
    })
    expect(report.violations).toEqual([])
    const repeated = [...attempts].filter(([id]) => id.includes('/7/'))
    expect(repeated.map(([, all]) => all.at(-1))).toContain(2)
  })

  it('must be of a subscription that there is', async () => {
    await expect(simulate(scenario, { handlers: { pikcing: () => undefined } })).rejects.toThrow(
      /'pikcing'.*picking, done/
    )
  })

  it('end with their run', async () => {
    const signal = AbortSignal.abort()
    await expect(simulate(scenario, { signal })).rejects.toMatchObject({ code: 'ERR_ABORTED' })
  })
})
