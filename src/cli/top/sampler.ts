import { ApiClient } from '../api-client.ts'
import { type NodeChoice, locateNode } from '../node-locator.ts'
import { type Sample, ratesBetween, takeSnapshot } from './snapshot.ts'

/** Asks a node again and again, and finds it again after a restart: its port and its token may be others then. */
export class Sampler {
  readonly #choice: NodeChoice
  #client: ApiClient | undefined
  #last: Sample | undefined

  constructor(choice: NodeChoice) {
    this.#choice = choice
  }

  /** Rejects as commands do where the node does not answer; the next call looks for it again. */
  async take(wantsOutbox: boolean): Promise<Sample> {
    try {
      this.#client ??= new ApiClient(await locateNode(this.#choice))
      const snapshot = await takeSnapshot(this.#client, wantsOutbox)
      const now = { snapshot, at: Date.now() }
      this.#last = { ...now, rates: ratesBetween(this.#last, now) }
      return this.#last
    } catch (error) {
      this.close()
      throw error
    }
  }

  close(): void {
    this.#client?.close()
    this.#client = undefined
  }
}
