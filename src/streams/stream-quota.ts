import type { PeerId } from '../mesh/contract.ts'

export interface StreamQuotaInit {
  readonly perPeer: number
  readonly total: number
}

/** Counts what is open, with each peer and in all. */
export class StreamQuota {
  readonly #init: StreamQuotaInit
  readonly #open = new Map<PeerId, number>()
  #total = 0

  constructor(init: StreamQuotaInit) {
    this.#init = init
  }

  /** One more; answers the function that gives it back, once. Undefined where there are as many as may be. */
  take(peer: PeerId): (() => void) | undefined {
    const open = this.#open.get(peer) ?? 0
    if (open >= this.#init.perPeer || this.#total >= this.#init.total) return undefined
    this.#open.set(peer, open + 1)
    this.#total++
    let given = false
    return () => {
      if (given) return
      given = true
      this.#total--
      const left = (this.#open.get(peer) ?? 1) - 1
      if (left === 0) this.#open.delete(peer)
      else this.#open.set(peer, left)
    }
  }
}
