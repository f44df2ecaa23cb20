import { createHash, hkdfSync } from 'node:crypto'
import { open } from 'node:fs/promises'

import { SkeinError } from '../core/errors.ts'
import { systemRandom } from '../core/random.ts'
import type { Random } from '../core/random.ts'

/** Bytes of a network key: 256 bits, as many as the cipher's own key. */
const NETWORK_KEY_BYTES = 32

/** The keys a node accepts: it dials with both, so that a mesh can change its key without a stop. */
export interface NetworkKeys {
  readonly current: Uint8Array
  readonly previous?: Uint8Array | undefined
}

/** What two nodes must share before they can shake hands; derived from network key and mesh name. */
export interface NetworkSecret {
  /** 16 hex digits that name the key without giving it away, as part of the encrypter's protocol id. */
  readonly keyId: string
  /** Noise prologue: a handshake between two that differ in it fails in its first step. */
  readonly prologue: Uint8Array
}

/** The mDNS service of a mesh without a key is derived from this one, which everybody knows. */
const OPEN_KEY = new Uint8Array(NETWORK_KEY_BYTES)

function derive(key: Uint8Array, info: string, length: number): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', key, 'skein/1', info, length))
}

/** A new key. */
export function createNetworkKey(random: Random = systemRandom): Uint8Array {
  return random.bytes(NETWORK_KEY_BYTES)
}

/** The key as one line of text, 64 hex digits. */
export function formatNetworkKey(key: Uint8Array): string {
  return Buffer.from(key).toString('hex')
}

/** Reads a key from text: 64 hex digits or 43 base64url characters, white space around it ignored. Throws ERR_NETWORK_KEY. */
export function parseNetworkKey(text: string): Uint8Array {
  const line = text.trim()
  if (/^[0-9a-fA-F]{64}$/.test(line)) return new Uint8Array(Buffer.from(line, 'hex'))
  if (/^[A-Za-z0-9_-]{43}=?$/.test(line)) return new Uint8Array(Buffer.from(line, 'base64url'))
  throw new SkeinError(
    'ERR_NETWORK_KEY',
    'the network key is not 64 hex digits or 43 base64url characters; create one with: skein key create'
  )
}

/**
 * May others than its user read or change a file? One of root's may be readable by a group: so root hands secrets to a
 * service's user (systemd by an access list that shows as the group's mode, Kubernetes by `fsGroup`). `user` is
 * undefined on systems without them.
 */
export function isOpenToOthers(
  file: { mode: number; uid: number },
  user: number | undefined
): boolean {
  if (user === undefined) return false
  const isHandedDown = file.uid === 0 && user !== 0
  return (file.mode & (isHandedDown ? 0o037 : 0o077)) !== 0
}

/** Reads a key file. Throws ERR_NETWORK_KEY when it cannot be read, is malformed, or others may read it. */
export async function loadNetworkKey(path: string): Promise<Uint8Array> {
  let text: string
  try {
    const file = await open(path, 'r')
    try {
      const { mode, uid } = await file.stat()
      if (isOpenToOthers({ mode, uid }, process.getuid?.())) {
        throw new SkeinError(
          'ERR_NETWORK_KEY',
          `others may read the network key file ${path}; run: chmod 600 '${path}'`,
          { details: { path, mode: (mode & 0o777).toString(8) } }
        )
      }
      text = await file.readFile('utf8')
    } finally {
      await file.close()
    }
  } catch (error) {
    if (error instanceof SkeinError) throw error
    throw new SkeinError(
      'ERR_NETWORK_KEY',
      `the network key file ${path} cannot be read; check the path and its owner`,
      { details: { path }, cause: error }
    )
  }
  return parseNetworkKey(text)
}

/** The key's public name within a mesh: 16 hex digits. Cannot be turned back into the key. */
export function networkKeyId(key: Uint8Array, mesh: string): string {
  return Buffer.from(derive(key, `key id ${mesh}`, 8)).toString('hex')
}

/** What nodes of the mesh share; without a key, the mesh name alone keeps meshes apart. */
export function networkSecret(key: Uint8Array | undefined, mesh: string): NetworkSecret {
  const used = key ?? OPEN_KEY
  const keyId = networkKeyId(used, mesh)
  return {
    keyId: key === undefined ? `open-${keyId}` : keyId,
    prologue: derive(used, `noise prologue ${mesh}`, 32)
  }
}

/** mDNS service of the mesh: nodes of other meshes neither answer nor ask for it. At most 63 characters a label. */
export function serviceTag(key: Uint8Array | undefined, mesh: string): string {
  const tag = derive(key ?? OPEN_KEY, `mdns ${mesh}`, 10)
  return `_skein-${Buffer.from(tag).toString('hex')}._udp.local`
}

/** The gossipsub topic of a channel. */
export function gossipTopic(mesh: string, channel: string): string {
  return `/skein/1/${encodeURIComponent(mesh)}/${encodeURIComponent(channel)}`
}

/** Identity of a frame, from its head alone. */
export function frameId(head: Uint8Array): string {
  return createHash('sha256').update(head).digest('base64')
}
