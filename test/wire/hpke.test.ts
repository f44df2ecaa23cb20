import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { seededRandom } from '../../src/core/random.ts'
import {
  agreementKey,
  agreementKeyFromSeed,
  agreementPublicKey,
  deriveAgreementKey,
  type HpkeContext,
  setupRecipient,
  setupSender
} from '../../src/wire/hpke.ts'
import { createSigner } from '../../src/wire/signature.ts'

const bytes = (hex: string): Buffer => Buffer.from(hex, 'hex')
const hex = (value: Uint8Array): string => Buffer.from(value).toString('hex')

/** RFC 9180, appendix A.2.1: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20Poly1305, base mode. */
const A21 = {
  info: bytes('4f6465206f6e2061204772656369616e2055726e'),
  ikmE: bytes('909a9b35d3dc4713a5e72a4da274b55d3d3821a37e5d099e74a647db583a904b'),
  ikmR: bytes('1ac01f181fdf9f352797655161c58b75c656a6cc2716dcb66372da835542e1df'),
  skR: bytes('8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb'),
  pkR: '4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a',
  enc: '1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a',
  plaintext: bytes('4265617574792069732074727574682c20747275746820626561757479'),
  sealed: [
    [
      0,
      '1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28'
    ],
    [
      1,
      '6b53c051e4199c518de79594e1c4ab18b96f081549d45ce015be002090bb119e85285337cc95ba5f59992dc98c'
    ],
    [
      2,
      '71146bd6795ccc9c49ce25dda112a48f202ad220559502cef1f34271e0cb4b02b4f10ecac6f48c32f878fae86b'
    ],
    [
      4,
      '63357a2aa291f5a4e5f27db6baa2af8cf77427c7c1a909e0b37214dd47db122bb153495ff0b02e9e54a50dbe16'
    ],
    [
      255,
      '18ab939d63ddec9f6ac2b60d61d36a7375d2070c9b683861110757062c52b8880a5f6b3936da9cd6c23ef2a95c'
    ],
    [
      256,
      '7a4a13e9ef23978e2c520fd4d2e757514ae160cd0cd05e556ef692370ca53076214c0c40d4c728d6ed9e727a5b'
    ]
  ],
  exports: [
    ['', '4bbd6243b8bb54cec311fac9df81841b6fd61f56538a775e7c80a9f40160606e'],
    ['00', '8c1df14732580e5501b00f82b10a1647b40713191b7c1240ac80e2b68808ba69'],
    ['54657374436f6e74657874', '5acb09211139c43b3090489a9da433e8a30ee7188ba8b0a9a1ccf0c229283e53']
  ]
} as const

/** The sender's context of the vector: its ephemeral key comes from the injected random bytes alone. */
function sender(): { encapsulated: Uint8Array; context: HpkeContext } {
  const random = { bytes: () => Uint8Array.from(A21.ikmE), int: () => 0 }
  return setupSender(bytes(A21.pkR), A21.info, random)
}

const recipient = (): HpkeContext => setupRecipient(bytes(A21.enc), agreementKey(A21.skR), A21.info)

describe('hpke: RFC 9180, A.2.1', () => {
  it('derives the key pairs', () => {
    expect(hex(deriveAgreementKey(A21.ikmR).publicKey)).toBe(A21.pkR)
    expect(hex(agreementKey(A21.skR).publicKey)).toBe(A21.pkR)
    expect(hex(deriveAgreementKey(A21.ikmE).publicKey)).toBe(A21.enc)
  })

  it('seals every text of the appendix, and opens it', () => {
    const { context, encapsulated } = sender()
    expect(hex(encapsulated)).toBe(A21.enc)
    const opening = recipient()
    const sealedAt = new Map<number, string>()
    for (let sequence = 0; sequence <= 256; sequence++) {
      const aad = Buffer.from(`Count-${sequence}`)
      const sealed = context.seal(A21.plaintext, aad)
      sealedAt.set(sequence, hex(sealed))
      expect(opening.open(sealed, aad)).toEqual(A21.plaintext)
    }
    expect(A21.sealed.map(([sequence]) => [sequence, sealedAt.get(sequence)])).toEqual(A21.sealed)
  })

  it('exports the secrets of the appendix on both sides', () => {
    for (const context of [sender().context, recipient()]) {
      for (const [exporter, value] of A21.exports) {
        expect(hex(context.export(bytes(exporter), 32))).toBe(value)
      }
    }
  })

  it('opens again after a text that was not for it', () => {
    const { context } = sender()
    const sealed = context.seal(A21.plaintext, bytes('00'))
    const opening = recipient()
    expect(() => opening.open(sealed, bytes('01'))).toThrow(
      expect.objectContaining({ code: 'ERR_SEALED' })
    )
    expect(opening.open(sealed, bytes('00'))).toEqual(A21.plaintext)
  })
})

describe('hpke: keys', () => {
  it('an Ed25519 seed and its public key give the two halves of one pair', () => {
    const random = seededRandom(4)
    for (let i = 0; i < 20; i++) {
      const seed = random.bytes(32)
      const mapped = agreementPublicKey(createSigner(seed).publicKey)
      expect(hex(agreementKeyFromSeed(seed).publicKey)).toBe(hex(mapped))
    }
  })

  it('an Ed25519 key is mapped as RFC 7748 and RFC 8032 say', () => {
    // RFC 8032, 7.1, test 1. u = (1 + y) / (1 - y), worked out here once more with whole numbers.
    const publicKey = bytes('d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a')
    const p = 2n ** 255n - 19n
    const y = BigInt(`0x${hex(publicKey.toReversed())}`) & (2n ** 255n - 1n)
    const power = (base: bigint, exponent: bigint): bigint => {
      let result = 1n
      for (let b = base, e = exponent; e > 0n; e >>= 1n, b = (b * b) % p) {
        if (e & 1n) result = (result * b) % p
      }
      return result
    }
    const u = ((1n + y) * power((1n - y + p) % p, p - 2n)) % p
    expect(hex(agreementPublicKey(publicKey).toReversed())).toBe(u.toString(16).padStart(64, '0'))
  })

  it('bytes that are no point of the curve are refused', () => {
    const points = Array.from({ length: 40 }, (_, index) => {
      const candidate = createHash('sha256').update(`${index}`).digest()
      try {
        agreementPublicKey(candidate)
        return undefined
      } catch (error) {
        return (error as { code: string }).code
      }
    })
    expect(points).toContain('ERR_OPTIONS')
    expect(points).toContain(undefined)
  })

  it('a key of small order, or of another length, shares nothing', () => {
    const key = agreementKeyFromSeed(new Uint8Array(32).fill(5))
    const zero = new Uint8Array(32)
    const one = Uint8Array.from({ length: 32 }, (_, index) => (index === 0 ? 1 : 0))
    for (const weak of [zero, one, new Uint8Array(31), new Uint8Array(0)]) {
      expect(() => setupRecipient(weak, key, A21.info)).toThrow(
        expect.objectContaining({ code: 'ERR_SEALED' })
      )
    }
  })
})
