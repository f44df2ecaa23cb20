import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { LIMITS } from '../../src/core/limits.ts'
import { covers, openReceipt, signReceipt } from '../../src/wire/inbox-receipt.ts'
import { peerIdFromPublicKey } from '../../src/wire/peer-id.ts'
import { createSigner } from '../../src/wire/signature.ts'
import type { SequenceRange } from '../../src/wire/vector.ts'
import { accepted, session, signer } from './arbitraries.ts'

const recipient = peerIdFromPublicKey(signer.publicKey)
const sender = peerIdFromPublicKey(createSigner(new Uint8Array(32).fill(9)).publicKey)

const ranges: fc.Arbitrary<SequenceRange[]> = fc
  .array(fc.tuple(fc.integer({ min: 2, max: 2 ** 40 }), fc.integer({ min: 1, max: 2 ** 40 })), {
    minLength: 1,
    maxLength: LIMITS.receiptRanges
  })
  .map((steps) => {
    let above = -1
    return steps.map(([gap, length]) => {
      const range = { from: above + gap, to: above + gap + length - 1 }
      above = range.to
      return range
    })
  })

const one = { publisher: sender, session: '018f000000000001', ranges: [{ from: 1, to: 7 }] }

describe('inbox receipt', () => {
  it('gives back what its recipient signed', () => {
    fc.assert(
      fc.property(session, ranges, (id, held) => {
        const receipt = { publisher: sender, session: id, ranges: held }
        expect(openReceipt(signReceipt(receipt, signer))).toEqual({ ...receipt, recipient })
      }),
      { numRuns: 50 }
    )
  })

  it('is refused when any bit differs', () => {
    const bytes = signReceipt(one, signer)
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const changed = Uint8Array.from(bytes)
      changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7))
      expect(accepted(() => openReceipt(changed))).toBeUndefined()
    }
  })

  it('is refused when it is cut, grows, or is anything else', () => {
    const bytes = signReceipt(one, signer)
    for (let length = 0; length < bytes.length; length++) {
      expect(accepted(() => openReceipt(bytes.subarray(0, length)))).toBeUndefined()
    }
    expect(accepted(() => openReceipt(Buffer.concat([bytes, Buffer.of(0)])))).toBeUndefined()
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (noise) => {
        expect(accepted(() => openReceipt(noise))).toBeUndefined()
      })
    )
  })

  it('cannot be signed by anyone but the recipient it names', () => {
    const forger = createSigner(new Uint8Array(32).fill(66))
    const forged = Buffer.from(signReceipt(one, forger))
    forged.set(signer.publicKey, 2)
    expect(() => openReceipt(forged)).toThrow(
      expect.objectContaining({ code: 'ERR_RECORD', details: { reason: 'signature' } })
    )
  })

  it.each([
    ['no ranges', []],
    ['zero', [{ from: 0, to: 3 }]],
    ['backwards', [{ from: 4, to: 3 }]],
    [
      'touching',
      [
        { from: 1, to: 3 },
        { from: 4, to: 5 }
      ]
    ],
    [
      'descending',
      [
        { from: 9, to: 9 },
        { from: 1, to: 2 }
      ]
    ],
    ['too many', Array.from({ length: 65 }, (_, i) => ({ from: 1 + 2 * i, to: 1 + 2 * i }))]
  ])('with ranges that are wrong (%s) is refused, though signed', (_, wrong) => {
    expect(accepted(() => openReceipt(signReceipt({ ...one, ranges: wrong }, signer)))).toBe(
      undefined
    )
  })

  it('covers what is in its ranges', () => {
    const held = [
      { from: 2, to: 3 },
      { from: 6, to: 6 }
    ]
    expect([1, 2, 3, 4, 5, 6, 7].filter((sequence) => covers(held, sequence))).toEqual([2, 3, 6])
  })
})
