import { Api, Refusal } from './api.ts'
import { loopDelayOf } from './metrics.ts'
import type { Fast, Slow, Snapshot } from './model.ts'
import { type Sample, sampleOf } from './sample.ts'

const FAST_MS = 2000
const SLOW_MS = 10_000
/** How long a call may take before the node counts as one that does not answer. */
const ANSWER_MS = 8000

export type Connection =
  | { readonly kind: 'connecting' }
  /** The node asks for a token. */
  | { readonly kind: 'locked'; readonly reason: 'missing' | 'wrong' }
  | { readonly kind: 'live' }
  | { readonly kind: 'lost'; readonly since: number; readonly why: string }

export interface WatchState {
  readonly connection: Connection
  /** The last look; undefined before the first. */
  readonly now: Snapshot | undefined
  /** The newest last, while the page looks; the last minutes only. */
  readonly history: readonly Sample[]
}

const HISTORY = 90

/** Looks at the node as often as needed, and not at all while nobody looks at the page. */
export class Watch {
  readonly api: Api
  readonly #hasToken: boolean
  readonly #listeners = new Set<() => void>()
  #state: WatchState = {
    connection: { kind: 'connecting' },
    now: undefined,
    history: []
  }
  #slow: { readonly at: number; readonly value: Slow } | undefined
  #signs = ''
  #timer: ReturnType<typeof setTimeout> | undefined
  #running: AbortController | undefined

  constructor(token: string | undefined) {
    this.api = new Api(token)
    this.#hasToken = token !== undefined
  }

  get state(): WatchState {
    return this.#state
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  start(): void {
    document.addEventListener('visibilitychange', this.#onVisibility)
    this.#onVisibility()
  }

  stop(): void {
    document.removeEventListener('visibilitychange', this.#onVisibility)
    this.#rest()
  }

  /** Something was changed from here: do not wait for the next look. */
  refresh(): void {
    this.#slow = undefined
    this.#rest()
    void this.#look()
  }

  readonly #onVisibility = (): void => {
    this.#rest()
    if (!document.hidden) void this.#look()
  }

  #rest(): void {
    clearTimeout(this.#timer)
    this.#running?.abort()
    this.#running = undefined
  }

  async #look(): Promise<void> {
    const running = new AbortController()
    this.#running = running
    const signal = AbortSignal.any([running.signal, AbortSignal.timeout(ANSWER_MS)])
    try {
      // One question is enough to hear that nobody answers.
      if (this.#state.connection.kind !== 'live') await this.api.call('v1/status', { signal })
      const [fast, slow] = await Promise.all([this.#askFast(signal), this.#askSlow(signal)])
      if (running.signal.aborted) return
      this.#compare(fast)
      const snapshot: Snapshot = { ...fast, ...slow, at: Date.now() }
      // After a pause nothing is known of the time between.
      const { history: past, now: last } = this.#state
      const isSameLife = last?.status.startedAt === fast.status.startedAt
      const isNext = last !== undefined && snapshot.at - last.at < 3 * FAST_MS
      const before = isSameLife && isNext ? past.slice(1 - HISTORY) : []
      const history = [...before, sampleOf(snapshot)]
      this.#set({ connection: { kind: 'live' }, now: snapshot, history })
    } catch (error) {
      if (running.signal.aborted) return
      this.#failed(error)
    }
    if (this.#state.connection.kind === 'locked') return
    this.#timer = setTimeout(() => void this.#look(), FAST_MS)
  }

  /** What is asked seldom is asked at once where the rest shows that it has changed. */
  #compare(fast: Fast): void {
    const now = signsOf(fast)
    if (now !== this.#signs) this.#slow = undefined
    this.#signs = now
  }

  #failed(error: unknown): void {
    if (error instanceof Refusal && error.status === 401) {
      const reason = this.#hasToken ? 'wrong' : 'missing'
      this.#set({ connection: { kind: 'locked', reason }, now: undefined, history: [] })
      return
    }
    const { connection } = this.#state
    const since = connection.kind === 'lost' ? connection.since : Date.now()
    const why = error instanceof Refusal ? error.message : ''
    this.#slow = undefined
    this.#set({ ...this.#state, connection: { kind: 'lost', since, why } })
  }

  async #askFast(signal: AbortSignal): Promise<Fast> {
    const [status, peers, topics] = await Promise.all([
      this.api.json<Fast['status']>('v1/status', { signal }),
      this.api.json<Fast['peers']>('v1/peers', { signal }),
      this.api.json<Fast['topics']>('v1/topics', { signal })
    ])
    return { status, peers, topics }
  }

  async #askSlow(signal: AbortSignal): Promise<Slow> {
    const now = Date.now()
    if (this.#slow !== undefined && now - this.#slow.at < SLOW_MS) return this.#slow.value
    const { api } = this
    const [own, groups, outbox, dead, mesh, metrics] = await Promise.all([
      api.json<Pick<Slow, 'subscriptions'>>('v1/subscriptions', { signal }),
      api.json<Pick<Slow, 'groups'>>('v1/groups', { signal }),
      api.json<{ entries: Slow['outbox'] }>('v1/outbox', { signal }),
      api.json<Pick<Slow, 'deadLetters'>>('v1/dlq', { signal }),
      api.json<{ nodes: Slow['topology'] }>('v1/topology', { signal }),
      api.text('metrics', { signal })
    ])
    const value: Slow = {
      subscriptions: own.subscriptions,
      groups: groups.groups,
      outbox: outbox.entries,
      deadLetters: dead.deadLetters,
      topology: mesh.nodes,
      loopDelay: loopDelayOf(metrics)
    }
    this.#slow = { at: now, value }
    return value
  }

  #set(state: WatchState): void {
    this.#state = state
    for (const listener of this.#listeners) listener()
  }
}

/** Peers that came or went, messages that wait, dead letters, subscriptions: each shows in what is asked often. */
function signsOf({ peers, status, topics }: Fast): string {
  const letters = topics.filter(({ channel }) => channel.startsWith('$dlq'))
  return JSON.stringify([
    peers.map(({ connected, peerId, state }) => [peerId, state, connected]),
    letters.map(({ journal }) => journal.next),
    status.subscribers.map(({ peerId, subscription }) => [peerId, subscription]),
    status.outbox
  ])
}
