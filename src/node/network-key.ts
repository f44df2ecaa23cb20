import { access } from 'node:fs/promises'
import { SkeinError } from '../core/errors.ts'
import { systemRandom } from '../core/random.ts'
import {
  createNetworkKey as newKey,
  formatNetworkKey,
  loadNetworkKey,
  networkKeyId
} from '../mesh/network-key.ts'
import { writeSecret } from '../core/secret-file.ts'

/** Writes a new random network key to `path`, mode 0600. Rejects with ERR_NETWORK_KEY where the file exists. */
export async function createNetworkKey(path: string, mesh = 'default'): Promise<{ keyId: string }> {
  const taken = await access(path).then(
    () => true,
    () => false
  )
  if (taken) {
    throw new SkeinError(
      'ERR_NETWORK_KEY',
      `${path} exists already and is not overwritten; nodes that use it would be cut off. Choose another file`,
      { details: { path } }
    )
  }
  const key = newKey(systemRandom)
  try {
    await writeSecret(path, `${formatNetworkKey(key)}\n`)
  } catch (error) {
    throw new SkeinError(
      'ERR_NETWORK_KEY',
      `${path} cannot be written (${(error as NodeJS.ErrnoException).code ?? 'unknown'}); choose a folder you may write to`,
      { cause: error, details: { path } }
    )
  }
  return { keyId: networkKeyId(key, mesh) }
}

/** Says which key is in a file without giving it away: its name in `mesh`. Rejects with ERR_NETWORK_KEY. */
export async function describeNetworkKey(
  path: string,
  mesh = 'default'
): Promise<{ keyId: string }> {
  return { keyId: networkKeyId(await loadNetworkKey(path), mesh) }
}
