// One node of the library in a process of its own. The process that started it says over IPC what it does.
import '../../src/polyfill.ts'
import { SkeinError, toSkeinError } from '../../src/core/errors.ts'
import type { Message, Subscription } from '../../src/delivery/contract.ts'
import type { SkeinNode } from '../../src/node/contract.ts'
import { createNode } from '../../src/node/create-node.ts'
import type { Calls, HandedMessage, Notice, Operation, Reply, Request } from './protocol.ts'

let node: SkeinNode | undefined
let hands = 0
const subscriptions = new Map<
  number,
  { readonly subscription: Subscription; readonly messages: AsyncIterator<Message> }
>()
/** Of letters whose outcome was not asked for yet. */
const outcomes = new Map<string, Promise<void>>()
/** Handed over, and not answered yet. */
const handed = new Map<number, Message>()

function say(reply: Reply, then?: () => void): void {
  if (process.connected) process.send?.(reply, undefined, undefined, then)
}

function notice(own: Notice): void {
  say(own)
}

function running(): SkeinNode {
  if (node === undefined) throw new SkeinError('ERR_STOPPED', 'the node has not started')
  return node
}

function opened(subscription: number) {
  const found = subscriptions.get(subscription)
  if (found === undefined) throw new SkeinError('ERR_STOPPED', 'the subscription has ended')
  return found
}

function takeHand(hand: number): Message {
  const message = handed.get(hand)
  if (message === undefined) throw new SkeinError('ERR_STOPPED', 'the message was answered')
  handed.delete(hand)
  return message
}

const connectedPeers = (): string[] =>
  running()
    .peers()
    .filter(({ connected }) => connected)
    .map(({ peerId }) => peerId)

async function waitingIds(): Promise<string[]> {
  return (await running().outbox()).map(({ id }) => id)
}

function watch(own: SkeinNode): void {
  const tellConnected = (): void => notice({ say: 'connected', peers: connectedPeers() })
  own.on('peer:up', tellConnected)
  own.on('peer:suspect', tellConnected)
  own.on('peer:down', tellConnected)
  own.on('outbox:expired', ({ id }) => notice({ say: 'expired', id }))
  own.on('failed', ({ error }) => {
    notice({ say: 'failed', text: error.message })
    process.exit(1)
  })
}

function plain(message: Message): HandedMessage {
  const { attempt, contentType, cursor, expiresAt, fence, headers, id, key, late } = message
  const { payload, priority, publisher, sequence, session, time, topic } = message
  const hand = ++hands
  handed.set(hand, message)
  const marks = { hand, attempt, late, cursor, fence }
  const origin = { id, publisher, session, sequence, time, expiresAt, priority }
  return { ...marks, ...origin, topic, payload, contentType, key, headers }
}

const handlers: {
  readonly [Op in Operation]: (params: Calls[Op]['params']) => Promise<Calls[Op]['answer']>
} = {
  async start(options) {
    node = await createNode(options)
    watch(node)
    return { peer: node.peerId, outbox: await waitingIds() }
  },
  async publish({ options, payload, topic }) {
    const { id, sequence, time } = await running().publish(topic, payload, options)
    return { id, sequence, time }
  },
  async send({ options, payload, peer, topic }) {
    const { delivered, id } = await running().send(peer, topic, payload, options)
    // Asked for in a call of its own, which rejects as it does.
    delivered.catch(() => undefined)
    outcomes.set(id, delivered)
    return { id }
  },
  async delivered({ id }) {
    const outcome = outcomes.get(id)
    outcomes.delete(id)
    await outcome
  },
  async subscribe({ filter, options, subscription: place }) {
    const subscription = running().subscribe(filter, options)
    subscriptions.set(place, {
      subscription,
      messages: subscription[Symbol.asyncIterator]()
    })
    subscription.events.on('gap', (gap) => notice({ say: 'gap', subscription: place, gap }))
    await subscription.ready
  },
  async next({ subscription }) {
    const { done, value } = await opened(subscription).messages.next()
    return done === true ? undefined : plain(value)
  },
  ack: ({ hand }) => takeHand(hand).ack(),
  nack: ({ delayMs, hand }) => takeHand(hand).nack({ delayMs }),
  async close({ subscription: place }) {
    const { subscription } = opened(place)
    subscriptions.delete(place)
    await subscription.stop()
  },
  ping: () => Promise.resolve(),
  async sample() {
    const own = running()
    const { external, heapUsed } = process.memoryUsage()
    const floors = own
      .topics()
      .flatMap(({ channel, logs }) =>
        logs
          .filter(({ floor, publisher }) => publisher === own.peerId && floor > 1)
          .map(({ floor, publisher, session }) => ({ publisher, session, channel, floor }))
      )
    return {
      memoryBytes: heapUsed + external,
      connected: connectedPeers(),
      floors,
      outbox: await waitingIds()
    }
  },
  stop: () => running().stop()
}

function perform<Op extends Operation>(op: Op, params: Calls[Op]['params']): Promise<unknown> {
  return handlers[op](params)
}

async function answer({ id, op, params }: Request): Promise<void> {
  try {
    const reply: Reply = { say: 'answer', id, answer: await perform(op, params) }
    say(reply, op === 'stop' ? () => process.disconnect() : undefined)
  } catch (error) {
    say({ say: 'refused', id, error: toSkeinError(error).toJSON() })
  }
}

// Ctrl-C reaches every process of the terminal: the one that started this one decides what it means.
process.on('SIGINT', () => undefined)
process.on('SIGTERM', () => undefined)
process.on('disconnect', () => process.exit())
process.on('message', (request: Request) => void answer(request))
notice({ say: 'alive' })
