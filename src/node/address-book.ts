import type { AddressBook } from '../mesh/discovery.ts'
import type { Store } from '../store/contract.ts'

type RememberedPeers = Awaited<ReturnType<AddressBook['load']>>

const SPACE = 'peers'

/** Remembered peers in the node's store, one value a peer. */
export function createAddressBook(store: Pick<Store, 'values'>): AddressBook {
  const values = store.values(SPACE)
  return {
    async load() {
      const entries = await values.entries()
      return entries.map(([id, value]) => {
        const { addresses, lastSeen } = JSON.parse(Buffer.from(value).toString()) as {
          addresses: string[]
          lastSeen: number
        }
        return { id, addresses, lastSeen }
      })
    },
    async save(peers: RememberedPeers) {
      const kept = new Set(peers.map((peer) => peer.id))
      for (const [id] of await values.entries()) if (!kept.has(id)) await values.delete(id)
      for (const { id, addresses, lastSeen } of peers) {
        await values.put(id, Buffer.from(JSON.stringify({ addresses, lastSeen })))
      }
    }
  }
}
