/** A call that the node refused, with what it said. */
export class Refusal extends Error {
  readonly status: number
  readonly code: string

  constructor(status: number, code: string, message: string) {
    super(message)
    this.status = status
    this.code = code
  }
}

export interface CallInit {
  readonly method?: 'GET' | 'POST'
  readonly body?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal | undefined
}

/** The node's HTTP interface, for the page that it served. */
export class Api {
  readonly #token: string | undefined

  constructor(token: string | undefined) {
    this.#token = token
  }

  /** Rejects with a `Refusal`, or with what `fetch` rejects with where the node cannot be reached. */
  async call(path: string, init: CallInit = {}): Promise<Response> {
    const { body, headers, method = 'GET', signal } = init
    const response = await fetch(path, {
      method,
      headers: {
        ...headers,
        ...(this.#token === undefined ? {} : { authorization: `Bearer ${this.#token}` })
      },
      credentials: 'omit',
      cache: 'no-store',
      redirect: 'error',
      ...(body === undefined ? {} : { body }),
      ...(signal === undefined ? {} : { signal })
    })
    if (!response.ok) throw await refusalOf(response)
    return response
  }

  async json<Value>(path: string, init: CallInit = {}): Promise<Value> {
    const response = await this.call(path, init)
    return (await response.json()) as Value
  }

  async text(path: string, init: CallInit = {}): Promise<string> {
    return (await this.call(path, init)).text()
  }

  postJson<Value>(path: string, value: unknown): Promise<Value> {
    const headers = { 'content-type': 'application/json' }
    return this.json(path, { method: 'POST', headers, body: JSON.stringify(value) })
  }
}

async function refusalOf(response: Response): Promise<Refusal> {
  const text = await response.text()
  try {
    const { code, detail } = JSON.parse(text) as { code?: unknown; detail?: unknown }
    return new Refusal(
      response.status,
      typeof code === 'string' ? code : '',
      typeof detail === 'string' ? detail : text
    )
  } catch {
    // A proxy in between does not speak our form.
    return new Refusal(response.status, '', `The node answered ${response.status}.`)
  }
}

/** What to show of a failed call. */
export function messageOf(error: unknown): string {
  if (error instanceof Refusal) return error.message
  return 'The node does not answer.'
}
