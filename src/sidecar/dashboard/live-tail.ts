import { Refusal, messageOf } from './api.ts'
import type { Api } from './api.ts'
import { eventsOf } from './event-reader.ts'

/** A message of the tail, or what is said between messages. */
export interface TailRow {
  readonly key: number
  readonly time: string
  readonly topic: string
  readonly text: string
  readonly isNote: boolean
}

export interface TailState {
  /** Undefined: it does not run. */
  readonly filter: string | undefined
  readonly isPaused: boolean
  /** Newest first. */
  readonly rows: readonly TailRow[]
  readonly received: number
  /** Came while it was paused, and is not shown. */
  readonly passed: number
  readonly problem: string
}

/** What is kept on the page. */
export const TAIL_ROWS = 200
/** The page is drawn so often at most, however many messages come. */
const DRAW_MS = 150
const RETRY_MS = 2000
/** Characters of a payload that are shown. */
const TEXT_LENGTH = 2000

const NOTHING: TailState = {
  filter: undefined,
  isPaused: false,
  rows: [],
  received: 0,
  passed: 0,
  problem: ''
}

/** Messages of a filter as they come, while somebody looks. */
export class LiveTail {
  readonly #api: Pick<Api, 'call'>
  readonly #listener: () => void
  #state = NOTHING
  #running: AbortController | undefined
  #timer: ReturnType<typeof setTimeout> | undefined
  #fresh: TailRow[] = []
  #received = 0
  #passed = 0
  #keys = 0

  constructor(api: Pick<Api, 'call'>, listener: () => void) {
    this.#api = api
    this.#listener = listener
  }

  get state(): TailState {
    return this.#state
  }

  start(filter: string): void {
    this.#reset()
    this.#set({ ...NOTHING, filter })
    document.addEventListener('visibilitychange', this.#onVisibility)
    void this.#run(filter)
  }

  stop(): void {
    this.#running?.abort()
    document.removeEventListener('visibilitychange', this.#onVisibility)
    this.#draw()
    this.#set({ ...this.#state, filter: undefined, isPaused: false })
  }

  pause(isPaused: boolean): void {
    this.#draw()
    this.#set({ ...this.#state, isPaused })
  }

  clear(): void {
    this.#reset()
    this.#set({ ...this.#state, rows: [], received: 0, passed: 0 })
  }

  readonly #onVisibility = (): void => {
    const { filter } = this.#state
    if (filter === undefined) return
    if (document.hidden) {
      this.#running?.abort()
      this.#note('Not watched while the page was hidden')
    } else void this.#run(filter)
  }

  #reset(): void {
    this.#fresh = []
    this.#received = 0
    this.#passed = 0
  }

  async #run(filter: string): Promise<void> {
    this.#running?.abort()
    const running = new AbortController()
    const { signal } = running
    this.#running = running
    while (!signal.aborted) {
      try {
        const path = `v1/subscribe?filter=${encodeURIComponent(filter)}`
        const response = await this.#api.call(path, { signal })
        for await (const { data, event } of eventsOf(response)) {
          if (signal.aborted) return
          this.#take(event, data)
        }
        this.#note('The stream ended')
      } catch (error) {
        if (signal.aborted) return
        if (error instanceof Refusal && error.status < 500) {
          // The same again would be refused again.
          this.stop()
          this.#set({ ...this.#state, problem: error.message })
          return
        }
        this.#set({ ...this.#state, problem: messageOf(error) })
      }
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
    }
  }

  #take(event: string, data: string): void {
    if (event === 'ready') {
      this.#set({ ...this.#state, problem: '' })
      return
    }
    if (event === 'error') {
      const { detail } = JSON.parse(data) as { detail?: string }
      this.#set({ ...this.#state, problem: detail ?? 'The stream failed.' })
      return
    }
    if (event !== 'message') return
    this.#received++
    if (this.#state.isPaused) this.#passed++
    else this.#add(rowOf(JSON.parse(data) as Record<string, unknown>, this.#keys++))
    this.#timer ??= setTimeout(() => this.#draw(), DRAW_MS)
  }

  #note(text: string): void {
    const now = new Date().toISOString()
    this.#add({ key: this.#keys++, time: now, topic: '', text, isNote: true })
    this.#draw()
  }

  #add(row: TailRow): void {
    this.#fresh.push(row)
    if (this.#fresh.length > TAIL_ROWS) this.#fresh.shift()
  }

  #draw(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const fresh = this.#fresh.toReversed()
    this.#fresh = []
    const rows = [...fresh, ...this.#state.rows].slice(0, TAIL_ROWS)
    this.#set({ ...this.#state, rows, received: this.#received, passed: this.#passed })
  }

  #set(state: TailState): void {
    this.#state = state
    this.#listener()
  }
}

function rowOf(event: Readonly<Record<string, unknown>>, key: number): TailRow {
  const { data, data_base64: bytes, skeintopic: topic, time } = event
  return {
    key,
    time: textOf(time),
    topic: textOf(topic),
    text: cut(bytes === undefined ? textOf(data) : `base64 ${textOf(bytes)}`),
    isNote: false
  }
}

function textOf(value: unknown): string {
  if (value === undefined) return ''
  return typeof value === 'string' ? value : JSON.stringify(value)
}

function cut(text: string): string {
  return text.length > TEXT_LENGTH ? `${text.slice(0, TEXT_LENGTH)}…` : text
}
