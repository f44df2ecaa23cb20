// Calls at a steady rate, and how long each took.

export interface Load {
  /** A second. */
  readonly rate: number
  readonly seconds: number
}

/** Milliseconds each call took. They begin when they are due, whether or not those before have ended. */
export async function loaded(
  { rate, seconds }: Load,
  operation: () => Promise<void>
): Promise<number[]> {
  const took: number[] = []
  const running: Promise<void>[] = []
  const count = Math.round(rate * seconds)
  const began = performance.now()
  const one = async (): Promise<void> => {
    const since = performance.now()
    await operation()
    took.push(performance.now() - since)
  }
  while (running.length < count) {
    const due = Math.min(count, Math.floor(((performance.now() - began) / 1000) * rate))
    while (running.length < due) running.push(one())
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
  await Promise.all(running)
  return took
}

/** A moment that other processes of the machine can compare with their own, ms. */
const now = (): number => performance.timeOrigin + performance.now()

const MARK_CHARACTERS = 128

/** A payload that says when it was made. */
export function mark(): string {
  return String(now()).padEnd(MARK_CHARACTERS)
}

/** How long payloads of `mark` were under way, ms. */
export class Marks {
  #took: number[] = []

  add(text: string): void {
    this.#took.push(now() - Number(text))
  }

  take(): number[] {
    const took = this.#took
    this.#took = []
    return took
  }
}
