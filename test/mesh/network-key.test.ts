import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import {
  createNetworkKey,
  formatNetworkKey,
  gossipTopic,
  isOpenToOthers,
  loadNetworkKey,
  networkKeyId,
  networkSecret,
  parseNetworkKey,
  serviceTag
} from '../../src/mesh/network-key.ts'

const KEY = new Uint8Array(32).fill(7)

describe('network key', () => {
  let dir: string
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'skein-key-'))
  })
  afterAll(() => rm(dir, { recursive: true }))

  it('network key: what is written is read back, as hex or base64url', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (key) => {
        expect(parseNetworkKey(`${formatNetworkKey(key)}\n`)).toEqual(key)
        expect(parseNetworkKey(Buffer.from(key).toString('base64url'))).toEqual(key)
      })
    )
    expect(createNetworkKey()).not.toEqual(createNetworkKey())
  })

  it.each(['', 'abc', 'z'.repeat(64), '0'.repeat(63), '0'.repeat(66)])(
    'network key: %j is none',
    (text) => {
      expect(() => parseNetworkKey(text)).toThrow(
        expect.objectContaining({ code: 'ERR_NETWORK_KEY' })
      )
    }
  )

  it('network key: a file that others may read is refused with what to run', async () => {
    const path = join(dir, 'key')
    await writeFile(path, formatNetworkKey(KEY), { mode: 0o600 })
    expect(await loadNetworkKey(path)).toEqual(KEY)
    for (const mode of [0o640, 0o604, 0o660]) {
      await chmod(path, mode)
      await expect(loadNetworkKey(path)).rejects.toMatchObject({
        code: 'ERR_NETWORK_KEY',
        message: expect.stringContaining(`chmod 600 '${path}'`) as string
      })
    }
    await expect(loadNetworkKey(join(dir, 'none'))).rejects.toMatchObject({
      code: 'ERR_NETWORK_KEY'
    })
  })

  it.each([
    [0o100440, 0, 1000, false],
    [0o100460, 0, 1000, true],
    [0o100444, 0, 1000, true],
    [0o100440, 0, 0, true],
    [0o100440, 1000, 1000, true],
    [0o100400, 1000, 1000, false],
    [0o100644, 0, undefined, false]
  ])('network key: mode %o of user %d, read by %s: too open is %s', (mode, uid, user, isOpen) => {
    expect(isOpenToOthers({ mode, uid }, user)).toBe(isOpen)
  })

  it('network key: names, prologues and service tags differ by key and by mesh, and hide the key', () => {
    const other = new Uint8Array(32).fill(8)
    const variants = [
      [KEY, 'a'],
      [KEY, 'b'],
      [other, 'a'],
      [undefined, 'a'],
      [undefined, 'b']
    ] as const
    for (const derive of [
      (key: Uint8Array | undefined, mesh: string) => networkSecret(key, mesh).keyId,
      (key: Uint8Array | undefined, mesh: string) =>
        Buffer.from(networkSecret(key, mesh).prologue).toString('hex'),
      serviceTag
    ]) {
      expect(new Set(variants.map(([key, mesh]) => derive(key, mesh))).size).toBe(variants.length)
    }
    expect(networkKeyId(KEY, 'a')).toMatch(/^[0-9a-f]{16}$/)
    expect(serviceTag(KEY, 'a').split('.')[0]?.length).toBeLessThan(64)
  })

  it('network key: gossip topics keep meshes and channels apart', () => {
    expect(gossipTopic('default', '$group/a b')).toBe('/skein/1/default/%24group%2Fa%20b')
    expect(gossipTopic('a/b', 'c')).not.toBe(gossipTopic('a', 'b/c'))
  })
})
