import { expect, it } from 'vitest'
import { createWorld } from '../../../simulations/world/world.ts'
import { type Life, SimulatedNode } from '../../../simulations/world/simulated-node.ts'
import { silentLogger } from '../../../src/core/logger.ts'
import { seededRandom } from '../../../src/core/random.ts'
import { outgoing } from '../../../src/node/outgoing.ts'

const NODE = {
  joinMs: 0,
  keep: [],
  custodian: undefined,
  clockSkewMs: 0,
  retention: {},
  disk: { kind: 'disk', sizeBytes: undefined }
} as const

it('simulations: what a full disk does not take is not asked for again and again', async () => {
  const world = createWorld({
    random: (part) => seededRandom(part.length),
    network: { latencyMs: 1, jitterMs: 1, bytesPerSecond: undefined, announcements: 'mesh' }
  })
  const start = (name: string, seed: number): SimulatedNode => {
    const node = new SimulatedNode(
      {
        ...world,
        random: seededRandom(seed),
        logger: silentLogger,
        createDisk: () => world.createDisk(name, undefined)
      },
      {
        node: { ...NODE, name },
        onBorn: () => undefined,
        onUp: () => undefined,
        onDown: () => undefined,
        onBug: (error) => expect.unreachable(String(error))
      }
    )
    node.start()
    return node
  }
  const [one, other] = [start('n1', 1), start('n2', 2)]
  await world.time.run(1000)
  const { engine: publisher } = one.life as Life
  const { engine: reader } = other.life as Life
  const got: string[] = []
  const subscription = reader.subscriptions.subscribe('t', { durable: 'd', from: 'now' })
  subscription.onMessage((message) => void got.push(message.text()))
  await world.time.run(2000)
  other.setDisk({ full: true, latencyMs: 0 })
  await world.time.run(20_000)
  for (let at = 0; at < 20; at++) {
    void publisher.publisher.publish(outgoing('t', `m${at}`, {}, 1024), 'stored')
    await world.time.run(20_000 + at * 500)
  }
  expect(got).toEqual([])
  expect(reader.sync.stats.pulls).toBeLessThan(20)
  other.setDisk({ full: false, latencyMs: 0 })
  await world.time.run(60_000)
  expect(got).toEqual(Array.from({ length: 20 }, (_, at) => `m${at}`))
  one.vanish()
  other.vanish()
})
