import { createPublicKey, verify } from 'node:crypto'
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LIMITS } from '../../src/core/limits.ts'
import { seededRandom } from '../../src/core/random.ts'
import { decodeCursor, encodeCursor } from '../../src/wire/cursor.ts'
import { formatMessageId, parseMessageId } from '../../src/wire/message-id.ts'
import { peerIdFromPublicKey, publicKeyFromPeerId } from '../../src/wire/peer-id.ts'
import { RecentCache } from '../../src/wire/recent-cache.ts'
import { isSession, newSession, sessionMs } from '../../src/wire/session.ts'
import { createSigner, verifySignature } from '../../src/wire/signature.ts'
import { parseTopic } from '../../src/wire/topic.ts'
import { session, topic } from './arbitraries.ts'

const key = fc.uint8Array({ minLength: 32, maxLength: 32 })

describe('peer id', () => {
  it('peer id: is what libp2p makes of the same seed', async () => {
    for (const fill of [0, 1, 200]) {
      const seed = new Uint8Array(32).fill(fill)
      const privateKey = await generateKeyPairFromSeed('Ed25519', seed)
      const { publicKey } = createSigner(seed)
      expect(Buffer.compare(privateKey.publicKey.raw, publicKey)).toBe(0)
      expect(peerIdFromPublicKey(publicKey)).toBe(peerIdFromPrivateKey(privateKey).toString())
    }
  })

  it('peer id: gives its key back', () => {
    fc.assert(
      fc.property(key, (bytes) => {
        const id = peerIdFromPublicKey(bytes)
        expect(id).toMatch(/^12D3KooW/)
        expect(publicKeyFromPeerId(id)).toEqual(bytes)
        expect(peerIdFromPublicKey(Buffer.from(bytes))).toBe(id)
      })
    )
  })

  it.each([
    '',
    '12D3KooW',
    'QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N',
    '0OIl',
    'ü',
    '1'.repeat(5000)
  ])('peer id: %s is none of an Ed25519 key', (text) => {
    expect(() => publicKeyFromPeerId(text)).toThrow(
      expect.objectContaining({ code: 'ERR_OPTIONS' })
    )
  })

  it('peer id: a key of another length is refused', () => {
    expect(() => peerIdFromPublicKey(new Uint8Array(33))).toThrow(
      expect.objectContaining({ code: 'ERR_OPTIONS' })
    )
  })
})

describe('signature', () => {
  it('signature: passes test 1 of RFC 8032', () => {
    const signer = createSigner(
      Buffer.from('9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60', 'hex')
    )
    expect(Buffer.from(signer.publicKey).toString('hex')).toBe(
      'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a'
    )
    const signature = signer.sign(new Uint8Array(0))
    expect(Buffer.from(signature).toString('hex')).toBe(
      'e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b'
    )
    expect(verifySignature(signer.publicKey, new Uint8Array(0), signature)).toBe(true)
  })

  it('signature: another text, key or length is not signed', () => {
    const [one, two] = [createSigner(new Uint8Array(32).fill(1)), createSigner(new Uint8Array(32))]
    const text = Buffer.from('text')
    const signature = one.sign(text)
    expect(verifySignature(one.publicKey, text, signature)).toBe(true)
    expect(verifySignature(one.publicKey, Buffer.from('Text'), signature)).toBe(false)
    expect(verifySignature(two.publicKey, text, signature)).toBe(false)
    expect(verifySignature(one.publicKey, text, signature.subarray(1))).toBe(false)
    expect(verifySignature(one.publicKey.subarray(1), text, signature)).toBe(false)
  })

  it('signature: no 32 bytes as a key make it throw', () => {
    fc.assert(
      fc.property(key, fc.uint8Array({ minLength: 64, maxLength: 64 }), (bytes, signature) => {
        expect(verifySignature(bytes, Buffer.from('x'), signature)).toBe(false)
      })
    )
  })

  it.each([
    '0000000000000000000000000000000000000000000000000000000000000000',
    '0100000000000000000000000000000000000000000000000000000000000000',
    '0100000000000000000000000000000000000000000000000000000000000080',
    '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
    'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
    'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f'
  ])('signature: nobody signs with %s, for which anybody could', (hex) => {
    const publicKey = Buffer.from(hex, 'hex')
    const forged = Buffer.alloc(64).fill(1, 0, 1)
    const jwk = { kty: 'OKP', crv: 'Ed25519', x: publicKey.toString('base64url') }
    const imported = createPublicKey({ key: jwk, format: 'jwk' })
    const texts = Array.from({ length: 200 }, (_, index) => Buffer.from([index]))
    // OpenSSL takes such forgeries before 3.5 (Node 20 and 22); from then on it refuses them by itself.
    const openSslTakes = Number.parseFloat(process.versions.openssl) < 3.5
    expect(texts.some((text) => verify(null, text, imported, forged))).toBe(openSslTakes)
    expect(texts.some((text) => verifySignature(publicKey, text, forged))).toBe(false)
  })

  it('signature: the key is kept in the form that others import', () => {
    const { publicKey } = createSigner(new Uint8Array(32).fill(1))
    const jwk = { kty: 'OKP', crv: 'Ed25519', x: Buffer.from(publicKey).toString('base64url') }
    expect(createPublicKey({ key: jwk, format: 'jwk' }).asymmetricKeyType).toBe('ed25519')
    expect(publicKey.length).toBe(32)
  })

  it('signature: a seed of another length is refused', () => {
    expect(() => createSigner(new Uint8Array(31))).toThrow(
      expect.objectContaining({ code: 'ERR_OPTIONS' })
    )
  })
})

describe('session', () => {
  it('session: is greater than the one before, whatever the clock says', () => {
    const below = session.filter((text) => !text.startsWith('ffffffffffff'))
    fc.assert(
      fc.property(
        fc.integer(),
        fc.double(),
        fc.option(below, { nil: undefined }),
        (seed, now, above) => {
          fc.pre(!Number.isNaN(now))
          const made = newSession(now, seededRandom(seed), above)
          expect(isSession(made)).toBe(true)
          expect(above === undefined || made > above).toBe(true)
        }
      )
    )
  })

  it('session: text order is time order', () => {
    const random = seededRandom(1)
    expect(newSession(1_700_000_000_000, random) < newSession(1_700_000_000_001, random)).toBe(true)
    expect(sessionMs(newSession(1_700_000_000_000, random))).toBe(1_700_000_000_000)
  })

  it('session: nothing is above the greatest', () => {
    expect(() => newSession(1, seededRandom(1), 'ffffffffffffffff')).toThrow(
      expect.objectContaining({ code: 'ERR_INTERNAL' })
    )
  })
})

describe('message id', () => {
  it('message id: what was formatted is parsed', () => {
    fc.assert(
      fc.property(
        key,
        session,
        fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
        topic,
        (...parts) => {
          const [bytes, name, sequence, text] = parts
          const { channel } = parseTopic(text)
          const id = { publisher: peerIdFromPublicKey(bytes), session: name, sequence, channel }
          expect(parseMessageId(formatMessageId(id))).toEqual(id)
        }
      )
    )
  })

  const publisher = peerIdFromPublicKey(new Uint8Array(32))
  it.each([
    '',
    'a/b/c/d',
    `${publisher}/0190000000000001/0/orders`,
    `${publisher}/0190000000000001/01/orders`,
    `${publisher}/0190000000000001/9007199254740992/orders`,
    `${publisher}/0190000000000001/1`,
    `${publisher}/0190000000000001/1/a/b`,
    `${publisher}/0190000000000001/1/+`,
    `${publisher}/0000000000000000/1/a`,
    `${publisher}/019000000000000A/1/a`,
    `nobody/0190000000000001/1/a`
  ])('message id: %j is none', (text) => {
    expect(() => parseMessageId(text)).toThrow(expect.objectContaining({ code: 'ERR_OPTIONS' }))
  })
})

describe('cursor', () => {
  const epoch = session
  const offset = fc.maxSafeNat()

  it('cursor: what was encoded is decoded, and stays short', () => {
    fc.assert(
      fc.property(epoch, topic, offset, (store, text, at) => {
        const { channel } = parseTopic(text)
        const cursor = encodeCursor({ epoch: store, channel, offset: at })
        expect(cursor).toMatch(/^[A-Za-z0-9_-]+$/)
        expect(cursor.length).toBeLessThanOrEqual(LIMITS.cursorBytes)
        expect(decodeCursor(cursor)).toEqual({ epoch: store, channel, offset: at })
      })
    )
  })

  it('cursor: the longest channel is found among those known', () => {
    const channel = 'ü'.repeat(LIMITS.topicBytes / 2)
    const cursor = { epoch: '0123456789abcdef', channel, offset: Number.MAX_SAFE_INTEGER }
    const text = encodeCursor(cursor)
    expect(text.length).toBeLessThanOrEqual(LIMITS.cursorBytes)
    expect(decodeCursor(text, ['a', channel])).toEqual(cursor)
    expect(() => decodeCursor(text, ['a'])).toThrow(
      expect.objectContaining({ code: 'ERR_CURSOR_UNKNOWN' })
    )
  })

  it('cursor: stays within its limit for a channel of any length', () => {
    for (let length = 1; length <= LIMITS.topicBytes; length++) {
      const channel = 'x'.repeat(length)
      const text = encodeCursor({ epoch: 'f'.repeat(16), channel, offset: Number.MAX_SAFE_INTEGER })
      expect(text.length).toBeLessThanOrEqual(LIMITS.cursorBytes)
      expect(decodeCursor(text, [channel]).channel).toBe(channel)
    }
  })

  it('cursor: anything cut or altered is unknown', () => {
    const text = encodeCursor({ epoch: '0123456789abcdef', channel: 'orders', offset: 12_345 })
    const altered = fc
      .tuple(
        fc.nat({ max: text.length - 1 }),
        fc.constantFrom('A', 'Z', 'a', 'z', '0', '9', '-', '_', ' ', '=', '+', '/', 'ü')
      )
      .map(([at, one]) => text.slice(0, at) + one + text.slice(at + 1))
      .filter((other) => other !== text)
    const cut = fc.nat({ max: text.length - 1 }).map((length) => text.slice(0, length))
    fc.assert(
      fc.property(fc.oneof(altered, cut, fc.string({ maxLength: 300 })), (other) => {
        expect(() => decodeCursor(other)).toThrow(
          expect.objectContaining({ code: 'ERR_CURSOR_UNKNOWN' })
        )
      }),
      { numRuns: 500 }
    )
  })
})

describe('recent cache', () => {
  it('recent cache: stays bounded and keeps what is used', () => {
    const cache = new RecentCache<number, string>(10)
    for (let index = 0; index < 1000; index++) {
      cache.set(index, `v${index}`)
      cache.set(-1, 'kept')
      expect(cache.get(-1)).toBe('kept')
      expect(cache.size).toBeLessThanOrEqual(20)
    }
    expect(cache.get(0)).toBe(undefined)
    expect(cache.get(999)).toBe('v999')
    cache.clear()
    expect([cache.size, cache.get(999)]).toEqual([0, undefined])
  })

  it('recent cache: a hit alone keeps an entry', () => {
    const cache = new RecentCache<string, number>(4)
    cache.set('kept', 1)
    for (let index = 0; index < 100; index++) {
      cache.set(`other${index}`, index)
      expect(cache.get('kept')).toBe(1)
    }
  })
})
