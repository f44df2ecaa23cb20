import { createServer } from 'node:net'
import type { Store } from '../store/contract.ts'

const SPACE = 'node'
const KEY = 'listen-port'

/** The TCP port that the node listened on last, so that peers which remember it find it again. */
async function rememberedPort(store: Pick<Store, 'values'>): Promise<number> {
  const value = await store.values(SPACE).get(KEY)
  return value === undefined ? 0 : Number(Buffer.from(value).toString())
}

export async function rememberPort(
  store: Pick<Store, 'values'>,
  addresses: readonly string[]
): Promise<void> {
  const port = addresses.map((address) => /\/tcp\/(\d+)/.exec(address)?.[1]).find(Boolean)
  if (port !== undefined) await store.values(SPACE).put(KEY, Buffer.from(port))
}

/** Default addresses to listen on: every IPv4 interface, at the port of last time if it is free. */
export async function defaultListen(store: Pick<Store, 'values'>): Promise<string[]> {
  const port = await rememberedPort(store)
  return [`/ip4/0.0.0.0/tcp/${port !== 0 && (await isFree(port)) ? port : 0}`]
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '0.0.0.0', () => server.close(() => resolve(true)))
  })
}
