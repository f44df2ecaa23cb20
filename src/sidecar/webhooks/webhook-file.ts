import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { z } from 'zod'
import { SkeinError } from '../../core/errors.ts'
import { writeSecret } from '../../core/secret-file.ts'
import { webhookSchema } from './webhook.ts'

const FILE = 'webhooks.json'

const keptSubscription = z.strictObject({
  webhook: webhookSchema,
  /** Why nothing is pushed until it is registered again. */
  paused: z.string().optional()
})

const keptService = z.strictObject({ webhook: z.string(), concurrency: z.int() })

const fileSchema = z.strictObject({
  version: z.literal(1),
  subscriptions: z.record(z.string(), keptSubscription),
  services: z.record(z.string(), keptService).default({})
})

export type KeptService = Readonly<z.output<typeof keptService>>
export type KeptSubscription = Readonly<z.output<typeof keptSubscription>>

/**
 * What is pushed where, and what answers for which service, kept in the data directory: credentials stand in it, so only its owner can read it. Without a
 * data directory it lasts as long as the node.
 */
export class WebhookFile {
  readonly #dataDir: () => string | undefined
  readonly #subscriptions = new Map<string, KeptSubscription>()
  readonly #services = new Map<string, KeptService>()
  #saving: Promise<void> = Promise.resolve()

  constructor(dataDir: () => string | undefined) {
    this.#dataDir = dataDir
  }

  get subscriptions(): ReadonlyMap<string, KeptSubscription> {
    return this.#subscriptions
  }

  get services(): ReadonlyMap<string, KeptService> {
    return this.#services
  }

  /** Rejects with ERR_DATA_DIR where it is there and cannot be read. */
  async load(): Promise<void> {
    const path = this.#path
    if (path === undefined) return
    try {
      const content = fileSchema.parse(JSON.parse(await readFile(path, 'utf8')))
      for (const [name, kept] of Object.entries(content.subscriptions))
        this.#subscriptions.set(name, kept)
      for (const [name, kept] of Object.entries(content.services)) this.#services.set(name, kept)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
      throw failure(path, 'read', error)
    }
  }

  /** Undefined: it is kept no more. Resolves when that is on disk; rejects with ERR_DATA_DIR. */
  async keepSubscription(name: string, kept: KeptSubscription | undefined): Promise<void> {
    if (changed(this.#subscriptions, name, kept)) await this.#save()
  }

  /** As for subscriptions. */
  async keepService(name: string, kept: KeptService | undefined): Promise<void> {
    if (changed(this.#services, name, kept)) await this.#save()
  }

  get #path(): string | undefined {
    const dataDir = this.#dataDir()
    return dataDir === undefined ? undefined : join(dataDir, FILE)
  }

  #save(): Promise<void> {
    const path = this.#path
    if (path === undefined) return Promise.resolve()
    const saved = this.#saving.then(async () => {
      const subscriptions = Object.fromEntries(this.#subscriptions)
      const services = Object.fromEntries(this.#services)
      const content = { version: 1, subscriptions, services }
      try {
        await writeSecret(path, `${JSON.stringify(content, undefined, 2)}\n`)
      } catch (error) {
        throw failure(path, 'written', error)
      }
    })
    this.#saving = saved.catch(() => undefined)
    return saved
  }
}

/** Sets or deletes; false where that changes nothing. */
function changed<Kept>(all: Map<string, Kept>, name: string, kept: Kept | undefined): boolean {
  if (kept === undefined) return all.delete(name)
  if (isDeepStrictEqual(all.get(name), kept)) return false
  all.set(name, kept)
  return true
}

function failure(path: string, what: string, cause: unknown): SkeinError {
  const { code = 'it is malformed' } = cause as NodeJS.ErrnoException
  return new SkeinError(
    'ERR_DATA_DIR',
    `${path} cannot be ${what} (${code}); mend it, or move it away and register the webhooks again.`,
    { cause, details: { path } }
  )
}
