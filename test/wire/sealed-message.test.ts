import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LIMITS } from '../../src/core/limits.ts'
import { seededRandom } from '../../src/core/random.ts'
import { BodyBuilder, type EncodableMessage } from '../../src/wire/body.ts'
import { agreementKeyFromSeed } from '../../src/wire/hpke.ts'
import { peerIdFromPublicKey } from '../../src/wire/peer-id.ts'
import { openMessage, SEALED_TYPE, sealInner, sealMessage } from '../../src/wire/sealed-message.ts'
import { createSigner } from '../../src/wire/signature.ts'
import { message } from './arbitraries.ts'

const seedOf = (fill: number): Uint8Array => new Uint8Array(32).fill(fill)
const peer = (fill: number): string => peerIdFromPublicKey(createSigner(seedOf(fill)).publicKey)

const [sender, recipient, other] = [peer(1), peer(2), peer(3)]
const key = agreementKeyFromSeed(seedOf(2))
const random = seededRandom(8)

function seal(inner: EncodableMessage): { contentType: string; payload: Uint8Array } {
  const { contentType, payload } = sealMessage(inner, { sender, recipient, random })
  return { contentType: contentType as string, payload }
}

const refused = expect.objectContaining({ code: 'ERR_SEALED' })

describe('sealed message', () => {
  it('gives back what was sealed, all but the time to live, which stays outside', () => {
    fc.assert(
      fc.property(message, (inner) => {
        const outer = sealMessage(inner, { sender, recipient, random })
        expect(outer).toMatchObject({ suffix: '', contentType: SEALED_TYPE })
        expect(outer.ttlMs).toBe(inner.ttlMs)
        expect(outer.key ?? outer.headers ?? outer.id).toBeUndefined()
        const opened = openMessage(
          { contentType: outer.contentType, payload: outer.payload },
          { sender, recipient, key }
        )
        expect(Buffer.from(opened.payload)).toEqual(Buffer.from(inner.payload))
        const rest = { ...inner, payload: undefined, ttlMs: undefined }
        expect({ ...opened, payload: undefined }).toEqual(rest)
      }),
      { numRuns: 50 }
    )
  })

  it('shows nothing of what is inside', () => {
    const secret = 'the treasure lies under the third oak'
    const outer = sealMessage(
      {
        suffix: `/${secret}`,
        payload: Buffer.from(secret),
        key: secret,
        headers: { secret }
      },
      { sender, recipient, random }
    )
    expect(Buffer.from(outer.payload).includes('treasure')).toBe(false)
    expect(Object.keys(outer).toSorted()).toEqual(['contentType', 'payload', 'suffix', 'ttlMs'])
  })

  it('does not open when any bit differs', () => {
    const sealed = seal({ suffix: '/alerts', payload: Buffer.from('disk almost full') })
    fc.assert(
      fc.property(fc.nat({ max: sealed.payload.length * 8 - 1 }), (bit) => {
        // X25519 ignores the top bit of a key (RFC 7748, 5), the key schedule does not.
        const payload = Uint8Array.from(sealed.payload)
        payload[bit >> 3] = (payload[bit >> 3] as number) ^ (1 << (bit & 7))
        expect(() => openMessage({ ...sealed, payload }, { sender, recipient, key })).toThrow(
          refused
        )
      }),
      { numRuns: 300 }
    )
  })

  it('does not open when it is cut short or is not sealed at all', () => {
    const sealed = seal({ suffix: '/alerts', payload: Buffer.from('disk almost full') })
    for (let length = 0; length < sealed.payload.length; length++) {
      const payload = sealed.payload.subarray(0, length)
      expect(() => openMessage({ ...sealed, payload }, { sender, recipient, key })).toThrow(refused)
    }
    const plain = { ...sealed, contentType: 'text/plain' }
    expect(() => openMessage(plain, { sender, recipient, key })).toThrow(refused)
  })

  it('opens for its recipient alone, and only under the name of its sender', () => {
    const sealed = seal({ suffix: '/a', payload: Buffer.from('for two') })
    const theirs = agreementKeyFromSeed(seedOf(3))
    for (const init of [
      { sender, recipient, key: theirs },
      { sender, recipient: other, key: theirs },
      { sender, recipient: other, key },
      { sender: other, recipient, key }
    ]) {
      expect(() => openMessage(sealed, init)).toThrow(refused)
    }
    expect(openMessage(sealed, { sender, recipient, key }).suffix).toBe('/a')
  })

  it('seals the same message differently every time', () => {
    const inner = { suffix: '/a', payload: Buffer.from('again') }
    expect(seal(inner).payload).not.toEqual(seal(inner).payload)
  })

  it('keeps the payload limit of a record, and says what fits', () => {
    const fits = LIMITS.payloadBytes - 200
    expect(seal({ suffix: '/a', payload: new Uint8Array(fits) }).payload.length).toBeLessThan(
      LIMITS.payloadBytes
    )
    expect(() => seal({ suffix: '/a', payload: new Uint8Array(LIMITS.payloadBytes) })).toThrow(
      expect.objectContaining({ code: 'ERR_PAYLOAD_TOO_LARGE' })
    )
  })

  it('takes no time to live from inside, whoever wrote it there', () => {
    const builder = new BodyBuilder()
    builder.add({ suffix: '/a', payload: new Uint8Array(1), ttlMs: 5 })
    const { contentType, payload } = sealInner(builder.finish(), {
      sender,
      recipient,
      random,
      ttlMs: 7
    })
    const opened = openMessage({ contentType, payload }, { sender, recipient, key })
    expect(opened.ttlMs).toBeUndefined()
  })

  it('names no recipient that is no peer', () => {
    const inner = { suffix: '/a', payload: new Uint8Array(1) }
    expect(() => sealMessage(inner, { sender, recipient: 'anna', random })).toThrow(
      expect.objectContaining({ code: 'ERR_OPTIONS' })
    )
  })
})
