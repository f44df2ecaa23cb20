import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { SkeinNode } from '../../src/index.ts'
import { eventually } from '../processes/skein-process.ts'
import { mesh, tcpNode } from '../fixtures/tcp-node.ts'

/** A node that serves `held` and never answers, in a process of its own, to be killed. */
const RESPONDER = `
  import { createNode } from ${JSON.stringify(new URL('../../dist/index.js', import.meta.url).href)}
  const { JOIN, MESH } = process.env
  const listen = ['/ip4/127.0.0.1/tcp/0']
  const node = await createNode({ mesh: MESH, join: [JOIN], mdns: false, listen, logLevel: 'silent' })
  node.reply('held', () => {
    process.send('held')
    return new Promise(() => undefined)
  })
`

const served = (node: SkeinNode, service: string): Promise<unknown> =>
  eventually(() => node.peers().some(({ services }) => services.includes(service)))

describe('requests over TCP', () => {
  it('are answered, a thousand at once and the largest one too', async () => {
    const a = await tcpNode()
    const b = await tcpNode({ join: [...a.status().addresses] })
    b.reply('echo', (request) => request.payload)
    b.reply('count', async function* () {
      for (let at = 0; at < 100; at++) yield { at }
    })
    await served(a, 'count')
    const texts = Array.from({ length: 1000 }, (_, at) => `${at}`)
    const answers = await Promise.all(texts.map((text) => a.request('echo', text)))
    expect(answers.map((answer) => answer.text())).toEqual(texts)
    const large = new Uint8Array(192 * 1024).fill(7)
    const back = await Promise.all(Array.from({ length: 20 }, () => a.request('echo', large)))
    for (const { payload } of back) expect(Buffer.compare(payload, large)).toBe(0)
    const counted: number[] = []
    for await (const reply of a.requestMany('count', null)) {
      counted.push(reply.json<{ at: number }>().at)
    }
    expect(counted).toEqual(Array.from({ length: 100 }, (_, at) => at))
    expect(await a.scatter('echo', 'x')).toHaveLength(1)
    await b.stop()
    await expect(a.request('echo', 'x')).rejects.toMatchObject({ code: 'ERR_NO_RESPONDERS' })
  })

  it('fail at once when the node that has them is killed', async () => {
    const a = await tcpNode()
    const child = spawn(process.execPath, ['--input-type=module', '-e', RESPONDER], {
      env: { ...process.env, MESH: mesh, JOIN: a.status().addresses[0] },
      stdio: ['ignore', 'inherit', 'inherit', 'ipc']
    })
    onTestFinished(() => void child.kill('SIGKILL'))
    await served(a, 'held')
    const held = once(child, 'message')
    const asked = a.request('held', 'x', { timeoutMs: 600_000 })
    await held
    child.kill('SIGKILL')
    await expect(asked).rejects.toMatchObject({ code: 'ERR_STREAM' })
  })
})
