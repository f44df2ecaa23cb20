import { randomBytes } from 'node:crypto'
import type { Message, NodeOptions, SkeinNode, Subscription } from '../src/index.ts'
import { freePort, Link } from './link.ts'
import { type Stage, until } from './stage.ts'

/** The nodes of the first steps. */
interface Cast {
  readonly mesh: string
  anna: SkeinNode
  ben: SkeinNode
  cleo: SkeinNode
  /** What a node is started with, so that the others find it. */
  readonly options: (name: string) => NodeOptions
}

const NAMES = ['anna', 'ben', 'cleo'] as const
const MULTICAST_MS = 4000
const MESSAGES = 10_000
const MISSED = 5000
const PER_SIDE = 1000

const elapsed = (since: number): string => `${Math.round(performance.now() - since)} ms`
const connected = (node: SkeinNode): number => node.status().peers.connected
const isMember = (node: SkeinNode, channel: string): boolean =>
  node.peers().some((peer) => peer.connected && peer.channels.includes(channel))

/** Collects texts, in the order in which they come. */
function collect(subscription: Subscription, into: string[] = []): string[] {
  subscription.onMessage((message: Message) => void into.push(message.text()))
  return into
}

/** Publishes `count` numbered texts. */
async function publish(node: SkeinNode, topic: string, count: number): Promise<void> {
  const confirmed: Promise<unknown>[] = []
  for (let i = 0; i < count; i++) confirmed.push(node.publish(topic, `${topic} ${i}`))
  await Promise.all(confirmed)
}

function assertNumbered(got: readonly string[], topic: string, count: number): void {
  const mine = got.filter((text) => text.startsWith(`${topic} `))
  const wrong = mine.findIndex((text, i) => text !== `${topic} ${i}`)
  if (mine.length !== count) throw new Error(`${mine.length} messages instead of ${count}`)
  if (wrong !== -1) throw new Error(`message ${wrong} is '${mine[wrong]}'`)
}

/** Three nodes that are told nothing of each other; without multicast they are told by address. */
export async function meet(stage: Stage): Promise<{ cast: Cast; figures: string }> {
  const mesh = `demo-${randomBytes(4).toString('hex')}`
  const start = (options: (name: string) => NodeOptions): Promise<SkeinNode[]> =>
    Promise.all(NAMES.map((name) => stage.node(name, options(name))))
  const together = (nodes: readonly SkeinNode[], ms: number): Promise<void> =>
    until('three nodes that know each other', () => nodes.every((n) => connected(n) === 2), ms)

  const byMulticast = (): NodeOptions => ({ mesh })
  let nodes = await start(byMulticast)
  let since = performance.now()
  let options: (name: string) => NodeOptions = byMulticast
  let how = 'by mDNS, told nothing of each other'
  try {
    await together(nodes, MULTICAST_MS)
  } catch {
    // No multicast here, as in many containers: the addresses are given instead.
    await Promise.all(nodes.map((node) => stage.leave(node)))
    const ports = await Promise.all(NAMES.map(freePort))
    const addresses = ports.map((port) => `/ip4/127.0.0.1/tcp/${port}`)
    options = (name) => {
      const own = addresses[NAMES.findIndex((other) => other === name)] ?? ''
      return { mesh, mdns: false, listen: [own], join: addresses.filter((other) => other !== own) }
    }
    how = 'by address (join) over loopback: multicast does not work here'
    nodes = await start(options)
    since = performance.now()
    await together(nodes, 15_000)
  }
  const [anna, ben, cleo] = nodes as [SkeinNode, SkeinNode, SkeinNode]
  return { cast: { mesh, anna, ben, cleo, options }, figures: `${elapsed(since)}, ${how}` }
}

/** Messages of one node reach the two others, which look on. */
export async function flow({ anna, ben, cleo }: Cast): Promise<string> {
  const subscriptions = [ben, cleo].map((node) => node.subscribe('orders/#'))
  const got = subscriptions.map((subscription) => collect(subscription))
  await Promise.all(subscriptions.map(({ ready }) => ready))
  await until('the subscribers known to the publisher', () => isMember(anna, 'orders'))
  const since = performance.now()
  await publish(anna, 'orders/new', MESSAGES)
  await until('every message at both', () => got.every(({ length }) => length >= MESSAGES))
  const took = performance.now() - since
  for (const texts of got) assertNumbered(texts, 'orders/new', MESSAGES)
  await Promise.all(subscriptions.map((subscription) => subscription.stop()))
  const rate = Math.round((MESSAGES * 2) / (took / 1000)).toLocaleString('en')
  return `${MESSAGES.toLocaleString('en')} signed messages on disk and at both others in ${Math.round(took)} ms (${rate} deliveries/s)`
}

/** A durable subscriber goes away; when it comes back, the publisher is away, and a third node has it all. */
export async function comeBack(stage: Stage, cast: Cast): Promise<string> {
  const keeper = cast.cleo.subscribe('bills/#')
  const kept = collect(keeper)
  const before = cast.ben.subscribe('bills/#', { durable: 'accounting' })
  await Promise.all([keeper.ready, before.ready])
  await until('the subscriber known to the publisher', () => isMember(cast.anna, 'bills'))
  await stage.leave(cast.ben)
  await publish(cast.anna, 'bills/new', MISSED)
  await until('every message at cleo', () => kept.length >= MISSED)
  await stage.leave(cast.anna)

  const since = performance.now()
  cast.ben = await stage.node('ben', cast.options('ben'))
  const got = collect(cast.ben.subscribe('bills/#', { durable: 'accounting' }))
  await until('everything that ben missed', () => got.length >= MISSED)
  const took = elapsed(since)
  assertNumbered(got, 'bills/new', MISSED)
  cast.anna = await stage.node('anna', cast.options('anna'))
  return `${MISSED.toLocaleString('en')} of ${MISSED.toLocaleString('en')} missed messages, in order, ${took} after the start of ben`
}

/** Two nodes with a link between them that is cut while both go on publishing. */
export async function heal(stage: Stage): Promise<string> {
  const mesh = `demo-${randomBytes(4).toString('hex')}`
  const links: Link[] = []
  /** What a node says of itself leads through a link, so that nothing goes round the cut. */
  const behindLink = async (name: string, join: string[]): Promise<[SkeinNode, string]> => {
    const port = await freePort()
    const link = new Link(port)
    links.push(link)
    const address = await stage.link(link)
    const listen = [`/ip4/127.0.0.1/tcp/${port}`]
    return [
      await stage.node(name, { mesh, mdns: false, listen, announce: [address], join }),
      address
    ]
  }
  const [east, way] = await behindLink('east', [])
  const [west] = await behindLink('west', [way])
  const nodes = [east, west]
  const subscriptions = nodes.map((node) => node.subscribe('split/#', { durable: 'both' }))
  const got = subscriptions.map((subscription) => collect(subscription))
  await Promise.all(subscriptions.map(({ ready }) => ready))
  await until('a member at the other side', () => nodes.every((node) => isMember(node, 'split')))

  for (const link of links) link.cut()
  await until('the cut noticed', () => nodes.every((node) => connected(node) === 0))
  await Promise.all([publish(east, 'split/east', PER_SIDE), publish(west, 'split/west', PER_SIDE)])
  const since = performance.now()
  for (const link of links) link.heal()
  await until('the same on both sides', () => got.every(({ length }) => length >= PER_SIDE * 2))
  const took = elapsed(since)
  for (const texts of got) {
    assertNumbered(texts, 'split/east', PER_SIDE)
    assertNumbered(texts, 'split/west', PER_SIDE)
  }
  return `${PER_SIDE} messages of each side at both, in order, ${took} after the heal`
}

/** A message to one node that is off. */
export async function reach(stage: Stage, cast: Cast): Promise<string> {
  const to = cast.cleo.peerId
  await until('cleo known by name', () => cast.anna.peers().some(({ name }) => name === 'cleo'))
  await stage.leave(cast.cleo)
  const sent = await cast.anna.send('cleo', 'notes', 'the key is under the mat')
  const waiting = (await cast.anna.outbox()).length
  const since = performance.now()
  cast.cleo = await stage.node('cleo', cast.options('cleo'))
  const inbox = collect(cast.cleo.subscribe('@me/#', { durable: 'inbox', from: 'earliest' }))
  let receipted = false
  sent.delivered.then(
    () => (receipted = true),
    () => {}
  )
  await until('the receipt back', () => receipted)
  await until('the message', () => inbox.length > 0)
  if (inbox.length !== 1 || sent.to !== to || waiting !== 1) throw new Error('not what was sent')
  if ((await cast.anna.outbox()).length !== 0) throw new Error('the outbox is not empty')
  return `sealed for cleo alone, delivered and receipted ${elapsed(since)} after the start of cleo`
}
