import { multiaddr } from '@multiformats/multiaddr'
import { describe, expect, it, onTestFinished } from 'vitest'
import { LIMITS } from '../../src/core/limits.ts'
import { silentLogger } from '../../src/core/logger.ts'
import { seededRandom } from '../../src/core/random.ts'
import type { Frame, Transport } from '../../src/mesh/contract.ts'
import { ChannelGossip } from '../../src/mesh/gossip.ts'
import { createHost } from '../../src/mesh/libp2p-host.ts'
import { PUSH_PROTOCOL } from '../../src/mesh/neighbours.ts'
import { networkSecret } from '../../src/mesh/network-key.ts'
import { encodeControl, frameHeader } from '../../src/mesh/push-codec.ts'
import type { SkeinNode } from '../../src/node/contract.ts'
import { createNode } from '../../src/node/create-node.ts'
import { BodyBuilder } from '../../src/wire/body.ts'
import type { SealedRecord } from '../../src/wire/record.ts'
import { sealRecord } from '../../src/wire/sealed-record.ts'
import { type Signer, createSigner } from '../../src/wire/signature.ts'
import { createLoneEngine, ForeignLog } from '../fixtures/lone-engine.ts'
import { settled } from '../fixtures/manual-clock.ts'
import { libp2p, seed, until } from '../mesh/harness.ts'

const CHANNEL = 'a'
/** More than make a peer an outcast. */
const SHOTS = 12
const random = seededRandom(7)

/** A victim, an honest neighbour that publishes to it, and what the victim delivered. */
interface Scene {
  readonly mesh: string
  readonly address: string
  readonly victim: SkeinNode
  readonly honest: SkeinNode
  readonly delivered: string[]
  /** The honest node publishes; resolves when the victim has delivered it. */
  say(text: string): Promise<void>
}

let meshes = 0
async function scene(): Promise<Scene> {
  const mesh = `abuse-${++meshes}`
  const common = { mesh, mdns: false, listen: ['/ip4/127.0.0.1/tcp/0'], logger: silentLogger }
  const victim = await createNode(common)
  onTestFinished(() => victim.stop())
  const address = victim.status().addresses[0] ?? ''
  const honest = await createNode({ ...common, join: [address] })
  onTestFinished(() => honest.stop())
  const delivered: string[] = []
  const subscription = victim.subscribe(`${CHANNEL}/#`)
  subscription.onMessage((message) => void delivered.push(message.text()))
  await subscription.ready
  await until('the honest node knows the channel', () =>
    honest.peers().some(({ channels }) => channels.includes(CHANNEL))
  )
  const say = async (text: string): Promise<void> => {
    await honest.publish(`${CHANNEL}/x`, text)
    await until(`'${text}' delivered`, () => delivered.includes(text))
  }
  return { mesh, address, victim, honest, delivered, say }
}

interface Attacker {
  readonly transport: Transport
  readonly signer: Signer
}

/** A peer that speaks the transport's language and sends frames of its own making. */
async function attacker({ mesh, address, victim }: Scene): Promise<Attacker> {
  const key = seed()
  const transport = libp2p({ mesh, privateKey: key, join: [address] })
  onTestFinished(() => transport.stop())
  transport.onFrame(() => 'ignore')
  transport.join(CHANNEL)
  await transport.start()
  await until(
    'the attacker is connected',
    () => transport.members(CHANNEL).length > 0 && isConnected(victim, transport.self.id)
  )
  return { transport, signer: createSigner(key) }
}

let sequences = 0
function sealed(signer: Signer, over: { body?: Uint8Array; channel?: string } = {}): SealedRecord {
  const builder = new BodyBuilder()
  builder.add({ suffix: '/x', payload: Buffer.from(`evil ${++sequences}`) })
  const draft = {
    session: `018f${String(sequences).padStart(12, '0')}`,
    channel: over.channel ?? CHANNEL,
    first: 1,
    count: 1,
    previous: undefined,
    before: undefined,
    time: { ms: Date.now(), counter: 0 },
    body: over.body ?? builder.finish()
  }
  return sealRecord(draft, signer)
}

const frameOf = ({ bytes, headLength }: Pick<SealedRecord, 'bytes' | 'headLength'>): Frame => ({
  bytes,
  headLength
})

/** A copy with one bit changed. */
function flipped(record: SealedRecord, at: number): Frame {
  const bytes = Uint8Array.from(record.bytes)
  bytes[at] = (bytes[at] ?? 0) ^ (1 << random.int(8))
  return { bytes, headLength: record.headLength }
}

function truncated(record: SealedRecord): Frame {
  const length = 1 + random.int(record.bytes.length - 1)
  return { bytes: record.bytes.slice(0, length), headLength: Math.min(length, record.headLength) }
}

/** A frame too large to be pushed: only its head travels, by gossip. */
function headOnly(head: Uint8Array): Frame {
  const bytes = new Uint8Array(LIMITS.pushBytes + 1)
  bytes.set(head)
  return { bytes, headLength: head.length }
}

/** Signs with one key in the name of another. */
const forger = (honest: Uint8Array, own: Signer): Signer => ({
  publicKey: honest,
  sign: (bytes) => own.sign(bytes)
})

const someoneElse = createSigner(new Uint8Array(32).fill(77))

const attacks: Record<string, (signer: Signer) => Frame> = {
  garbage: () => ({ bytes: random.bytes(300), headLength: 100 }),
  'an empty frame': () => ({ bytes: random.bytes(1), headLength: 1 }),
  'truncated records': (signer) => truncated(sealed(signer)),
  'records with a bit flipped in the header': (signer) =>
    flipped(sealed(signer), 5 + random.int(60)),
  'records with a bit flipped in the signature': (signer) => {
    const record = sealed(signer)
    return flipped(record, record.headLength - 1 - random.int(64))
  },
  'records with a bit flipped in the body': (signer) => {
    const record = sealed(signer)
    return flipped(record, record.bytes.length - 1 - random.int(record.body.length))
  },
  'records signed in the name of another': (signer) =>
    frameOf(sealed(forger(someoneElse.publicKey, signer))),
  'records of another channel': (signer) => frameOf(sealed(signer, { channel: 'b' })),
  'signed records whose body is garbage': (signer) =>
    frameOf(sealed(signer, { body: random.bytes(100) })),
  'heads that are garbage': () => headOnly(random.bytes(200)),
  'heads signed in the name of another': (signer) => {
    const record = sealed(forger(someoneElse.publicKey, signer))
    return headOnly(record.bytes.subarray(0, record.headLength))
  }
}

async function counter(node: SkeinNode, name: string): Promise<number> {
  const line = (await node.metrics()).split('\n').find((text) => text.startsWith(`${name} `))
  return Number(line?.split(' ')[1] ?? Number.NaN)
}

/** What abuse could change in a victim. */
interface State {
  readonly delivered: readonly string[]
  readonly publishers: readonly string[]
  readonly ready: boolean
  readonly connected: boolean
}

function stateOf({ victim, honest, delivered }: Scene): State {
  const publishers = victim.topics().flatMap(({ logs }) => logs.map(({ publisher }) => publisher))
  const { ready } = victim.status()
  const connected = isConnected(victim, honest.peerId)
  return { delivered, publishers: [...new Set(publishers)], ready, connected }
}

/** Nothing but what the honest node said was delivered, and only its logs are stored. */
const unharmed = ({ honest }: Scene, ...delivered: readonly string[]): State => ({
  delivered,
  publishers: [honest.peerId],
  ready: true,
  connected: true
})

const isConnected = (node: SkeinNode, id: string): boolean =>
  node.peers().some(({ peerId, connected }) => peerId === id && connected)

describe('abuse: a peer that sends', () => {
  it.each(Object.entries(attacks))(
    '%s is not delivered, not stored, counted and cut off',
    async (_, shot) => {
      const stage = await scene()
      await stage.say('before')
      const { transport, signer } = await attacker(stage)
      // Gossip, which carries the heads, needs a moment to take in a new peer.
      await until('cut off', () => {
        for (let count = 0; count < SHOTS; count++) transport.broadcast(CHANNEL, shot(signer))
        return !isConnected(stage.victim, transport.self.id)
      })
      expect(await counter(stage.victim, 'skein_received_rejected_total')).toBeGreaterThanOrEqual(8)
      await stage.say('after')
      expect(stateOf(stage)).toEqual(unharmed(stage, 'before', 'after'))
    }
  )

  it('true heads without their records is told of nothing that is not there', async () => {
    const stage = await scene()
    await stage.say('before')
    const { transport, signer } = await attacker(stage)
    for (let count = 0; count < SHOTS; count++) {
      const record = sealed(signer)
      transport.broadcast(CHANNEL, headOnly(record.bytes.subarray(0, record.headLength)))
    }
    await stage.say('after')
    expect(stateOf(stage)).toEqual(unharmed(stage, 'before', 'after'))
  })

  it('a true record again and again is heard once', async () => {
    const stage = await scene()
    const { transport } = await attacker(stage)
    const caught: Frame[] = []
    transport.onFrame(({ bytes, complete }) => {
      if (complete) caught.push({ bytes: Uint8Array.from(bytes), headLength: 0 })
      return 'ignore'
    })
    await stage.say('once')
    await until('the record is caught', () => caught.length > 0)
    const bytes = caught[0]?.bytes ?? new Uint8Array()
    for (let count = 0; count < 1000; count++) {
      transport.broadcast(CHANNEL, { bytes, headLength: 200 + (count % 50) })
    }
    await stage.say('after')
    expect(stateOf(stage)).toEqual(unharmed(stage, 'once', 'after'))
  })
})

describe('abuse: a replay', () => {
  it('is recognised by log and sequence when its digest is forgotten', async () => {
    const lone = await createLoneEngine()
    onTestFinished(() => lone.engine.stop())
    const log = new ForeignLog(CHANNEL)
    const first = log.record(['first'])
    expect(await lone.transport.receive(CHANNEL, first.bytes)).toBe('accept')
    // More than the receiver remembers.
    const flood = new ForeignLog('flood', { key: 10 })
    for (let count = 0; count < 9000; count++) {
      await lone.transport.receive('flood', flood.record([String(count)]).bytes)
      if (count % 500 === 0) await settled()
    }
    await settled()
    const before = lone.engine.store.log(first.header)
    for (let count = 0; count < 100; count++) {
      await lone.transport.receive(CHANNEL, first.bytes)
    }
    await settled()
    expect(lone.engine.store.log(first.header)).toEqual(before)
    expect(lone.engine.store.channelUsage(CHANNEL).messages).toBe(1)
    expect(lone.engine.receiver.stats.duplicates).toBe(100)
  }, 30_000)
})

/** A bare libp2p peer that opens the push stream itself. */
async function rawPush({ mesh, address }: Scene): Promise<{
  id: string
  send: (bytes: Uint8Array) => void
}> {
  const host = await createHost({
    seed: seed(),
    listen: [],
    announce: [],
    serviceTag: undefined,
    encrypters: {
      secrets: [networkSecret(undefined, mesh)],
      instance: new Uint8Array(16),
      onRefused: () => undefined,
      onSelf: () => undefined
    },
    gossip: new ChannelGossip({
      mesh,
      logger: silentLogger,
      score: () => 0,
      onHead: () => 'ignore',
      onMeshShrank: () => undefined
    }),
    logger: silentLogger,
    isOutcast: () => false,
    onFound: () => undefined
  })
  onTestFinished(() => host.libp2p.stop())
  // Without an ear of its own it would not count as connected.
  await host.libp2p.handle(PUSH_PROTOCOL, () => undefined)
  await host.libp2p.start()
  const connection = await host.libp2p.dial(multiaddr(address))
  const send = (bytes: Uint8Array): void => {
    void connection
      .newStream(PUSH_PROTOCOL)
      .then((stream) => {
        stream.send(bytes)
        return stream.close()
      })
      .catch(() => undefined)
  }
  // The greeting, after which it counts as connected.
  send(encodeControl.peers([]))
  return { id: host.libp2p.peerId.toString(), send }
}

/** A whole push frame on a channel that was named before it. */
function pushed(bytes: Uint8Array, headLength: number): Uint8Array {
  const named = encodeControl.channel(1, true, CHANNEL)
  return Buffer.concat([named, frameHeader(1, 0, headLength, bytes.length), bytes])
}

describe('abuse: a push stream', () => {
  it.each([
    ['random bytes', () => random.bytes(5000)],
    ['a frame above the limit', () => pushed(new Uint8Array(LIMITS.pushBytes + 1), 100)],
    ['a frame of 4 GiB', () => Buffer.from('ffffffff00', 'hex')],
    ['a frame that is a garbage record', () => pushed(random.bytes(1000), 200)],
    ['a list of peers that is none', () => Buffer.from('0000000306' + '7b7d', 'hex')]
  ])('with %s harms nobody, and who repeats it is cut off', async (_, bytes) => {
    const stage = await scene()
    await stage.say('before')
    const { id, send } = await rawPush(stage)
    await until('connected', () => isConnected(stage.victim, id))
    let gone = false
    stage.victim.on('peer:down', ({ peerId }) => {
      gone ||= peerId === id
    })
    for (let count = 0; !gone && count < 200; count++) {
      send(bytes())
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    await until('cut off', () => gone)
    await stage.say('after')
    expect(stateOf(stage)).toEqual(unharmed(stage, 'before', 'after'))
  })
})
