import { describe, expect, it } from 'vitest'
import { networkKeyId, networkSecret, serviceTag } from '../../src/mesh/network-key.ts'
import { KIND } from '../../src/mesh/push-codec.ts'
import { systemRandom } from '../../src/core/random.ts'
import { BodyBuilder } from '../../src/wire/body.ts'
import { signReceipt } from '../../src/wire/inbox-receipt.ts'
import { peerIdFromPublicKey } from '../../src/wire/peer-id.ts'
import { decodeAnnouncement, encodeAnnouncement } from '../../src/wire/presence.ts'
import { sealMessage } from '../../src/wire/sealed-message.ts'
import { sealRecord } from '../../src/wire/sealed-record.ts'
import { createSigner } from '../../src/wire/signature.ts'
import { codesOf, pageOf, rowsOf, sectionOf } from './tables.ts'

const page = pageOf('protocol.md')
const bytesFrom = (first: number, length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, index) => first + index)
const seed = bytesFrom(0, 32)

describe('docs: protocol', () => {
  it('has a true test vector', () => {
    const builder = new BodyBuilder()
    builder.add({
      suffix: '/created',
      payload: Buffer.from('hello'),
      contentType: 'text/plain',
      key: 'k',
      ttlMs: 60_000
    })
    const record = sealRecord(
      {
        session: '018bcfe568000001',
        channel: 'orders',
        first: 1,
        count: 1,
        previous: undefined,
        before: undefined,
        time: { ms: 1_700_000_000_000, counter: 1 },
        body: builder.finish()
      },
      createSigner(seed)
    )
    const vector = sectionOf(page, '### Test vector')
    const flat = vector.replaceAll(/\s/g, '')
    expect(vector).toContain(`publisher ${record.header.publisher}\n`)
    expect(flat).toContain(`digest${Buffer.from(record.digest).toString('hex')}record`)
    expect(flat).toContain(`record${Buffer.from(record.bytes).toString('hex')}\`\`\``)
    expect(vector).toContain(`The head has ${record.headLength} bytes`)
    for (const name of [
      networkKeyId(seed, 'default'),
      serviceTag(seed, 'default'),
      networkSecret(undefined, 'default').keyId,
      serviceTag(undefined, 'default')
    ]) {
      expect(flat).toContain(`\`${name}\``)
    }
  })

  it('has a true vector of a sealed message and its receipt', () => {
    const [sender, recipient] = [createSigner(seed), createSigner(bytesFrom(32, 32))]
    const to = peerIdFromPublicKey(recipient.publicKey)
    const from = peerIdFromPublicKey(sender.publicKey)
    let next = 0x40
    const random = {
      ...systemRandom,
      bytes: (length: number) => {
        next += length
        return bytesFrom(next - length, length)
      }
    }
    const { payload } = sealMessage(
      { suffix: '/alerts', payload: Buffer.from('hello'), contentType: 'text/plain' },
      { sender: from, recipient: to, random }
    )
    const ranges = [
      { from: 1, to: 3 },
      { from: 5, to: 5 }
    ]
    const receipt = signReceipt({ publisher: from, session: '018bcfe568000001', ranges }, recipient)
    const flat = sectionOf(page, '### Sealed test vector').replaceAll(/\s/g, '')
    const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
    expect(flat).toContain(`recipient${to}payload${hex(payload)}receipt${hex(receipt)}\`\`\``)
  })

  it('lists every field of an announcement', () => {
    const all = {
      name: 'a',
      session: '018bcfe568000001',
      intervalMs: 1,
      custodian: true,
      channels: [],
      services: [],
      groups: [],
      subscriptions: [],
      addresses: [],
      bye: true
    } as const
    const fields = Object.keys(decodeAnnouncement(encodeAnnouncement(all)) ?? {})
    const listed = rowsOf(sectionOf(page, '## Presence')).flatMap(([name = '']) => codesOf(name))
    expect(listed.toSorted()).toEqual(fields.toSorted())
  })

  it('lists every kind of push frame', () => {
    const listed = rowsOf(sectionOf(page, '## `/skein/push/1.0.0`')).map(([kind, name]) => [
      name,
      Number(kind)
    ])
    expect(Object.fromEntries(listed)).toEqual(KIND)
  })
})
