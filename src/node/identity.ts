import { access, chmod, link, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { SkeinError } from '../core/errors.ts'
import { writeSecret } from '../core/secret-file.ts'
import type { Random } from '../core/random.ts'
import { SEED_BYTES } from '../wire/signature.ts'

const FILE = 'identity.key'

/**
 * The node's Ed25519 seed: read from the data dir, or made and written there (mode 0600, synced) at the first
 * start. Without a data dir: a new one at every start. Rejects with ERR_DATA_DIR.
 */
export async function loadIdentity(
  dataDir: string | undefined,
  random: Random
): Promise<Uint8Array> {
  if (dataDir === undefined) return random.bytes(SEED_BYTES)
  const path = join(dataDir, FILE)
  try {
    return (await read(path)) ?? (await create(path, random))
  } catch (error) {
    throw wrap(path, error)
  }
}

async function read(path: string): Promise<Uint8Array | undefined> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  const seed = Buffer.from(text.trim(), 'base64url')
  if (seed.length !== SEED_BYTES) {
    throw new SkeinError(
      'ERR_DATA_DIR',
      `${path} does not hold an identity (32 bytes, base64url); restore it, or move the whole data directory away to begin as a new node`,
      { details: { path } }
    )
  }
  await chmod(path, 0o600)
  return seed
}

async function create(path: string, random: Random): Promise<Uint8Array> {
  if (await exists(join(path, '..', 'store'))) {
    throw new SkeinError(
      'ERR_DATA_DIR',
      `${path} is missing beside a store that belongs to it; restore it from a backup, or move the whole data directory away to begin as a new node`,
      { details: { path } }
    )
  }
  const seed = random.bytes(SEED_BYTES)
  const mine = `${path}.${process.pid}`
  await writeSecret(mine, `${Buffer.from(seed).toString('base64url')}\n`)
  try {
    // Of two processes that start at once on a new directory, the first one's identity stands.
    await link(mine, path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  } finally {
    await rm(mine, { force: true })
  }
  return (await read(path)) ?? seed
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw error
  }
}

function wrap(path: string, error: unknown): SkeinError {
  if (error instanceof SkeinError) return error
  const { code = 'unknown' } = error as NodeJS.ErrnoException
  return new SkeinError(
    'ERR_DATA_DIR',
    `${path} cannot be read or written (${code}); check the owner and the mode of the data directory`,
    {
      cause: error,
      details: { path, errno: code }
    }
  )
}
