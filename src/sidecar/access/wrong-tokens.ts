import { SkeinError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import { LOCAL } from './client-address.ts'

interface Client {
  /** Wrong tokens that it may still try. */
  left: number
  /** When `left` was right, ms. */
  at: number
  /** When it last had the token, ms. */
  knownAt: number
}

/**
 * Wrong tokens, by client. Who tries too many is refused, whatever it shows then, so that nobody can guess at the speed
 * of the network. Whoever shares the address of a client that had the token lately, or this machine, is refused with a
 * wrong one only: nobody must be shut out by somebody else.
 */
export class WrongTokens {
  readonly #clients = new Map<string, Client>()
  readonly #now: () => number

  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  /** Throws ERR_BUSY where the client has tried too many. */
  assertFew(client: string): void {
    const known = this.#clients.get(client)
    if (known === undefined || client === LOCAL) return
    const now = this.#now()
    if (now - known.knownAt < LIMITS.tokenKnownMs) return
    if (this.#refilled(known, now).left < 1) throw tooMany()
  }

  right(client: string): void {
    const known = this.#clients.get(client)
    if (known === undefined)
      this.#add(client, { left: LIMITS.wrongTokens, at: 0, knownAt: this.#now() })
    else known.knownAt = this.#now()
  }

  /** Throws ERR_BUSY instead of what else it would be told, where the client has tried too many. */
  wrong(client: string): void {
    const now = this.#now()
    const known =
      this.#clients.get(client) ??
      this.#add(client, { left: LIMITS.wrongTokens, at: now, knownAt: Number.NEGATIVE_INFINITY })
    this.#refilled(known, now)
    if (known.left < 1) throw tooMany()
    known.left--
  }

  #refilled(client: Client, now: number): Client {
    const more = ((now - client.at) / 60_000) * LIMITS.wrongTokens
    client.left = Math.min(LIMITS.wrongTokens, client.left + more)
    client.at = now
    return client
  }

  #add(name: string, client: Client): Client {
    const [oldest] = this.#clients.keys()
    if (this.#clients.size >= LIMITS.tokenClients && oldest !== undefined) {
      this.#clients.delete(oldest)
    }
    this.#clients.set(name, client)
    return client
  }
}

function tooMany(): SkeinError {
  return new SkeinError(
    'ERR_BUSY',
    'Too many wrong API tokens came from this address; try again in a minute, with the right one.'
  )
}
