import type { Adapter } from './contract.ts'

/** Every adapter, loaded only where it is used. */
export const ADAPTERS = {
  skein: () => import('./skein.ts'),
  nats: () => import('./nats.ts'),
  zeromq: () => import('./zeromq.ts'),
  mosquitto: () => import('./mosquitto.ts'),
  moleculer: () => import('./moleculer.ts'),
  redis: () => import('./redis.ts'),
  'libp2p-gossipsub': () => import('./libp2p-gossipsub.ts'),
  'libp2p-stream': () => import('./libp2p-stream.ts'),
  'durable-floor': () => import('./durable-floor.ts')
} as const satisfies Record<string, () => Promise<Adapter>>

export type AdapterName = keyof typeof ADAPTERS
