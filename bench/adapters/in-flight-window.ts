/** Bounds what is sent and not yet confirmed, by messages and by bytes. */
export class InFlightWindow {
  readonly #messages: number
  readonly #bytes: number
  #inFlight = 0
  #inFlightBytes = 0
  #failure: Error | undefined
  #room: Promise<void> | undefined
  #wake: (() => void) | undefined

  constructor(messages: number, bytes: number = Infinity) {
    this.#messages = messages
    this.#bytes = bytes
  }

  enter(bytes: number): void {
    this.#inFlight++
    this.#inFlightBytes += bytes
  }

  /** One operation of `bytes` is over; a failure is thrown by the next `room()`. */
  leave(bytes: number, failure?: Error | null): void {
    if (failure !== undefined && failure !== null) this.#failure ??= failure
    this.#inFlight--
    this.#inFlightBytes -= bytes
    if (this.#wake === undefined || this.#full()) return
    const wake = this.#wake
    this.#wake = this.#room = undefined
    wake()
  }

  /** Undefined while there is room, else a promise of room. */
  room(): Promise<void> | undefined {
    if (this.#failure !== undefined) throw this.#failure
    if (!this.#full()) return undefined
    this.#room ??= new Promise((resolve) => {
      this.#wake = resolve
    })
    return this.#room
  }

  #full(): boolean {
    return this.#inFlight >= this.#messages || this.#inFlightBytes >= this.#bytes
  }
}
