import { describe, expect, it } from 'vitest'
import { SkeinError } from '../../src/core/errors.ts'
import { parseScenario } from '../../simulations/scenario/parse.ts'
import { scheduleOf } from '../../simulations/scenario/schedule.ts'
import { selectGroups, selectNodes } from '../../simulations/scenario/selectors.ts'
import {
  readBandwidth,
  readBytes,
  readDuration,
  readOffset,
  readShare
} from '../../simulations/scenario/units.ts'

const base = 'description: x\nnodes: 4\nend: 60s\n'
const parse = (text: string) => parseScenario(text, { file: 'some/test.yaml' })
const failure = (text: string): SkeinError => {
  try {
    parse(text)
  } catch (error) {
    if (error instanceof SkeinError) return error
  }
  throw new Error('it was accepted')
}

describe('scenario format', () => {
  it('takes its name from the file, and defaults for what is not said', () => {
    const scenario = parse(base)
    expect(scenario).toMatchObject({ name: 'test', seed: 1, tiers: ['virtual'], endMs: 60_000 })
    expect(scenario.nodes.map(({ name }) => name)).toEqual(['n1', 'n2', 'n3', 'n4'])
    expect(scenario.expect).toMatchObject({ noLoss: true, convergeWithinMs: undefined })
  })

  it('reads who hears announcements', () => {
    expect(parse(base).network.announcements).toBe('mesh')
    const yaml = `${base}network: { announcements: neighbours }\n`
    expect(parse(yaml).network.announcements).toBe('neighbours')
    expect(failure(`${base}network: { announcements: few }\n`).message).toMatch(/mesh.*neighbours/)
  })

  it('names nodes by lists, groups and counts', () => {
    const { nodes } = parse(
      'description: x\nend: 1s\nnodes: [a, { name: w, count: 2, custodian: true }, { count: 2 }]\n'
    )
    expect(nodes.map(({ name }) => name)).toEqual(['a', 'w1', 'w2', 'n1', 'n2'])
    expect(nodes[1]?.custodian).toBe(true)
  })

  it.each<[string, string, string, RegExp]>([
    ['YAML that cannot be read', 'nodes: [', '1:9', /not valid YAML/],
    ['a missing key', 'nodes: 3\nend: 1s\n', '1:1', /'description' is missing/],
    ['an unknown key', `${base}nodez: 3\n`, '4:1', /unknown key 'nodez'; allowed are name, /],
    ['a bare number as time', `${base}drain: 5\n`, '4:8', /'drain' is 5; allowed is a duration/],
    [
      'an unknown fault',
      `${base}timeline:\n  - { at: 1s, crush: n1 }\n`,
      '5:5',
      /names no fault; allowed are partition, heal/
    ],
    [
      'two faults in one',
      `${base}timeline:\n  - { at: 1s, crash: n1, loss: 5% }\n`,
      '5:5',
      /loss and crash/
    ],
    [
      'a key of another fault',
      `${base}timeline:\n  - { at: 1s, crash: n1, direction: one-way }\n`,
      '5:26',
      /'timeline\[0\]' has the unknown key 'direction'; allowed are at, for, crash/
    ],
    [
      'a fault after the end',
      `${base}timeline:\n  - { at: 2m, crash: n1 }\n`,
      '5:11',
      /after the end/
    ],
    [
      'an unknown node',
      `${base}timeline:\n  - { at: 1s, crash: n9 }\n`,
      '5:5',
      /'n9', which is no node; there are n1, n2/
    ],
    [
      'too many at random',
      `${base}timeline:\n  - { at: 1s, crash: 'random:9' }\n`,
      '5:5',
      /from 1 to 4/
    ],
    [
      'a wildcard to publish to',
      `${base}workload:\n  publishers:\n    - { nodes: n1, topic: a/+, rate: 1 }\n`,
      '6:27',
      /wildcard/
    ],
    [
      'a label that nobody has',
      `${base}expect:\n  delivered: { who: 3 }\n`,
      '5:21',
      /no subscription is called 'who'/
    ],
    [
      'durable and group at once',
      `${base}workload:\n  subscriptions:\n    - { nodes: n1, filter: a, durable: d, group: g }\n`,
      '6:50',
      /cannot stand beside 'durable'/
    ]
  ])('refuses %s, and says where and what is allowed', (_, text, place, message) => {
    const [line, column] = place.split(':').map(Number)
    const error = failure(text)
    expect(error.code).toBe('ERR_SCENARIO')
    expect(error.message).toMatch(message)
    expect(error.message).toMatch(new RegExp(`^some/test\\.yaml:${line}:${column}: `))
    expect(error.details).toMatchObject({ file: 'some/test.yaml', line, column })
  })

  it('tells all that is wrong in its details', () => {
    const { details } = failure('nodes: 0\nend: never\n')
    expect(details['problems']).toHaveLength(3)
  })

  it('reads units, and refuses what would be a guess', () => {
    expect(['500ms', '60s', '10m', '2h', '1.5s', 0, 7, '7', '1 y'].map(readDuration)).toEqual([
      500,
      60_000,
      600_000,
      7_200_000,
      1500,
      0,
      undefined,
      undefined,
      undefined
    ])
    expect(['-5s', '+1s', '--1s'].map(readOffset)).toEqual([-5000, 1000, undefined])
    expect([5, '2KiB', '1MB', -1].map(readBytes)).toEqual([5, 2048, undefined, undefined])
    expect(['256kbit', '8bit', '1bit', 100].map(readBandwidth)).toEqual([
      32_000,
      1,
      undefined,
      undefined
    ])
    expect(['5%', 0.05, 2, '101%'].map(readShare)).toEqual([50_000, 50_000, undefined, undefined])
  })
})

describe('node selectors', () => {
  const nodes = ['n1', 'n2', 'n3', 'n4', 'n5'].map((name) => ({ name }))
  const publishers = [{ nodes: ['n4'], topic: 'orders/{node}/new' }]
  const select = (...terms: string[]): string[] =>
    selectNodes(terms, { nodes, publishers }, { seed: 1 })

  it('select by name, place, range, share and role', () => {
    expect(select('n2', '1')).toEqual(['n1', 'n2'])
    expect(select('n2..n4')).toEqual(['n2', 'n3', 'n4'])
    expect(select('half')).toEqual(['n1', 'n2'])
    expect(select('all')).toHaveLength(5)
    expect(select('publisher:orders/#')).toEqual(['n4'])
    expect(select('publisher:orders/n4/new')).toEqual(['n4'])
    expect(select('publisher:other/#')).toEqual([])
    expect(select('random:2')).toHaveLength(2)
    expect(select('random:2')).toEqual(select('random:2'))
  })

  it('set one group against the rest, and keep a node to its first group', () => {
    const group = (...groups: string[][]): string[][] =>
      selectGroups(groups, { nodes, publishers }, 1)
    expect(group(['half'])).toEqual([
      ['n1', 'n2'],
      ['n3', 'n4', 'n5']
    ])
    expect(group(['n1', 'n2'], ['n2', 'n3'])).toEqual([['n1', 'n2'], ['n3']])
    expect(group(['n1'], ['rest'])).toEqual([['n1'], ['n2', 'n3', 'n4', 'n5']])
  })
})

describe('schedule', () => {
  const steps = (timeline: string, more = '') =>
    scheduleOf(parse(`${base}${more}timeline:\n${timeline}`), 1).map(
      ({ actions, atMs, edge, kind }) =>
        `${atMs} ${kind} ${edge}: ${actions
          .map((action) =>
            'node' in action ? `${action.do} ${action.node}` : `${action.do} ${action.id}`
          )
          .join(', ')}`
    )

  it('ends a fault after its time, and flaps in between', () => {
    expect(
      steps(
        '  - { at: 1s, partition: half, for: 2s }\n  - { at: 5s, flap: half, down: 1s, up: 2s, for: 5s }\n'
      )
    ).toEqual([
      '1000 partition begin: impair 0',
      '3000 partition end: repair 0',
      '5000 flap begin: impair 1',
      '6000 flap change: repair 1',
      '8000 flap change: impair 1',
      '9000 flap change: repair 1',
      '10000 flap end: repair 1'
    ])
  })

  it('starts what is down at a restart, restarts what runs, and crashes nothing twice', () => {
    expect(
      steps(
        '  - { at: 1s, crash: n1..n2 }\n  - { at: 2s, crash: n2..n3, for: 9s }\n  - { at: 3s, restart: [n1, n4], down: 1s }\n'
      )
    ).toEqual([
      '1000 crash begin: crash n1, crash n2',
      '2000 crash begin: crash n3',
      '3000 crash change: start n1',
      '3000 restart begin: stop n4',
      '4000 restart end: start n4',
      '11000 crash end: start n3',
      '60000 crash end: start n2'
    ])
  })

  it('ends what is done at once in the same moment', () => {
    expect(steps('  - { at: 1s, corrupt: n1 }\n')).toEqual([
      '1000 corrupt begin: corrupt n1',
      '1000 corrupt end: '
    ])
  })

  it('heals links that touch the named nodes, and leaves what is broken where it was told to', () => {
    const timeline =
      '  - { at: 1s, isolate: n1 }\n  - { at: 1s, isolate: n2 }\n  - { at: 2s, heal: n1 }\n'
    const first = [
      '1000 isolate begin: impair 0',
      '1000 isolate begin: impair 1',
      '2000 isolate end: repair 0'
    ]
    expect(steps(timeline)).toEqual([...first, '60000 isolate end: repair 1'])
    expect(steps(timeline, 'leave: true\n')).toEqual(first)
  })
})
