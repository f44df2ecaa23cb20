import { describe, expect, it, vi } from 'vitest'
import { SkeinError } from '../../src/core/errors.ts'
import { ReceivedReply } from '../../src/services/received.ts'
import { fakeNode, run } from './command.ts'

// Each test runs one process or more.
vi.setConfig({ testTimeout: 60_000 })

describe('cli request', () => {
  it('request: prints the answer as it came, or as JSON with all that belongs to it', async () => {
    const b = await fakeNode()
    b.node.request = async (service, data, options) => {
      expect([service, Buffer.from(data as Uint8Array).toString(), options?.timeoutMs]).toEqual([
        'pri ce',
        'hällo',
        500
      ])
      const { headers = {} } = options ?? {}
      return new ReceivedReply(
        { payload: Buffer.from('{"a":"é"}'), contentType: 'application/json', headers },
        'peer-b'
      )
    }
    const args = ['request', 'pri ce', 'hällo', ...b.at, '--timeout', '500ms', '--header', 'h=ü']
    const [raw, json] = await Promise.all([run(args), run([...args, '--json'])])
    expect(raw).toMatchObject({ code: 0, text: '{"a":"é"}', stderr: '' })
    expect(JSON.parse(json.text)).toEqual({
      payload: { a: 'é' },
      contentType: 'application/json',
      headers: { h: 'ü' },
      responder: 'peer-b'
    })
  })

  it('request: a failure is one clear line with its code', async () => {
    const b = await fakeNode()
    b.node.request = () => Promise.reject(new SkeinError('ERR_RESPONDER', 'sold out'))
    const { code, stderr, text } = await run(['request', 'price', 'x', ...b.at])
    expect({ code, stderr, text }).toEqual({
      code: 1,
      stderr: 'skein: sold out (ERR_RESPONDER)\n',
      text: ''
    })
  })
})
