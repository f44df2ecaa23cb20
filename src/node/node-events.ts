import { SkeinError } from '../core/errors.ts'
import type { Emitter } from '../core/events.ts'
import type { LogRef } from '../store/contract.ts'
import type { NodeEvents, PeerStatus } from './contract.ts'
import type { Engine } from './engine.ts'

export interface NodeEventsInit {
  readonly peerOf: (id: string) => PeerStatus
  /** The store is broken: nothing works any more. */
  readonly onBroken: () => void
}

/** Tells applications what happens in an engine, in the words of a node. */
export function forwardEvents(
  engine: Engine,
  emitter: Emitter<NodeEvents>,
  init: NodeEventsInit
): void {
  forwardPeers(engine, emitter, init)
  forwardStore(engine, emitter, init)
  const { inbox, slowPaths, subscriptions } = engine
  engine.events.on('channels:limit', (limit) => emitter.emit('channels:limit', limit))
  subscriptions.events.on('retention:unread', (unread) => emitter.emit('retention:unread', unread))
  subscriptions.events.on('slow', (slow) => emitter.emit('slow:consumer', slow))
  subscriptions.events.on('dead-letter', (letter) => emitter.emit('dead-letter', letter))
  engine.groups.events.on('dead-letter', (letter) => emitter.emit('dead-letter', letter))
  inbox.events.on('expired', (entry) => emitter.emit('outbox:expired', entry))
  for (const name of ['slow:neighbour', 'slow:disk', 'clock:jump'] as const) {
    slowPaths.events.on(name, (detail) => emitter.emit(name, detail as never))
  }
}

function forwardPeers(
  { mesh, receiver, transport }: Engine,
  emitter: Emitter<NodeEvents>,
  { peerOf }: NodeEventsInit
): void {
  const { events } = mesh.directory
  events.on('up', ({ id }) => emitter.emit('peer:up', peerOf(id)))
  events.on('suspect', ({ id }) => emitter.emit('peer:suspect', peerOf(id)))
  events.on('down', ({ id }) => emitter.emit('peer:down', peerOf(id)))
  transport.events.on('peer:refused', (refused) => emitter.emit('peer:refused', refused))
  receiver.events.on('impostor', ({ peer }) =>
    emitter.emit('peer:refused', {
      peer,
      address: '',
      code: 'ERR_IDENTITY_IN_USE',
      reason: 'it publishes under the identity of this node: a data directory was copied'
    })
  )
}

function forwardStore(
  { store }: Engine,
  emitter: Emitter<NodeEvents>,
  { onBroken }: NodeEventsInit
): void {
  store.events.on('gap', ({ log, missing }) => emitter.emit('gap', { ...refOf(log), missing }))
  store.events.on('given-up', ({ log, range, reason }) => {
    if (reason !== 'unwanted') emitter.emit('gap:final', { ...refOf(log), ...range, reason })
  })
  store.events.on('fork', ({ log, sequence }) => emitter.emit('fork', { ...refOf(log), sequence }))
  store.events.on('damaged', ({ log, range }) =>
    emitter.emit('damaged', { ...refOf(log), ...range })
  )
  store.events.on('condition', (change) => {
    emitter.emit('store:condition', change)
    if (change.condition !== 'broken') return
    emitter.emit('failed', { error: new SkeinError('ERR_STORE_FAILED', change.reason) })
    onBroken()
  })
}

function refOf({ channel, publisher, session }: LogRef): LogRef {
  return { channel, publisher, session }
}
