import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
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

const fileSchema = z.strictObject({
  version: z.literal(1),
  subscriptions: z.record(z.string(), keptSubscription)
})

export type KeptSubscription = Readonly<z.output<typeof keptSubscription>>

/**
 * What is pushed where, kept in the data directory: credentials stand in it, so only its owner can read it. Without a
 * data directory it lasts as long as the node.
 */
export class WebhookFile {
  readonly #dataDir: () => string | undefined
  readonly #subscriptions = new Map<string, KeptSubscription>()
  #saving: Promise<void> = Promise.resolve()

  constructor(dataDir: () => string | undefined) {
    this.#dataDir = dataDir
  }

  get subscriptions(): ReadonlyMap<string, KeptSubscription> {
    return this.#subscriptions
  }

  /** Rejects with ERR_DATA_DIR where it is there and cannot be read. */
  async load(): Promise<void> {
    const path = this.#path
    if (path === undefined) return
    try {
      const content = fileSchema.parse(JSON.parse(await readFile(path, 'utf8')))
      for (const [name, kept] of Object.entries(content.subscriptions))
        this.#subscriptions.set(name, kept)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
      throw failure(path, 'read', error)
    }
  }

  /** Undefined: it is kept no more. Resolves when that is on disk; rejects with ERR_DATA_DIR. */
  async keepSubscription(name: string, kept: KeptSubscription | undefined): Promise<void> {
    if (kept === undefined) {
      if (!this.#subscriptions.delete(name)) return
    } else this.#subscriptions.set(name, kept)
    await this.#save()
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
      const content = { version: 1, subscriptions }
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

function failure(path: string, what: string, cause: unknown): SkeinError {
  const { code = 'it is malformed' } = cause as NodeJS.ErrnoException
  return new SkeinError(
    'ERR_DATA_DIR',
    `${path} cannot be ${what} (${code}); mend it, or move it away and register the webhooks again.`,
    { cause, details: { path } }
  )
}
