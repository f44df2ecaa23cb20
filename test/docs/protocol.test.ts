import { describe, expect, it } from 'vitest'
import { networkKeyId, networkSecret, serviceTag } from '../../src/mesh/network-key.ts'
import { KIND } from '../../src/mesh/push-codec.ts'
import { BodyBuilder } from '../../src/wire/body.ts'
import { sealRecord } from '../../src/wire/sealed-record.ts'
import { createSigner } from '../../src/wire/signature.ts'
import { pageOf, rowsOf, sectionOf } from './tables.ts'

const page = pageOf('protocol.md')
const seed = Uint8Array.from({ length: 32 }, (_, index) => index)

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

  it('lists every kind of push frame', () => {
    const listed = rowsOf(sectionOf(page, '## `/skein/push/1.0.0`')).map(([kind, name]) => [
      name,
      Number(kind)
    ])
    expect(Object.fromEntries(listed)).toEqual(KIND)
  })
})
