import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { silentLogger } from '../../src/core/logger.ts'
import { createNode } from '../../src/index.ts'
import type { SkeinNode } from '../../src/index.ts'
import { eventually } from '../processes/skein-process.ts'
import { served } from '../sidecar/served-node.ts'
import { type Running, launch, run } from './command.ts'

// Each test runs one process or more.
vi.setConfig({ testTimeout: 60_000 })

/** Another node of the same mesh, which knows the service. */
async function neighbour(of: SkeinNode, service: string): Promise<SkeinNode> {
  const node = await createNode({
    name: 'neighbour',
    mesh: of.mesh,
    mdns: false,
    listen: ['/ip4/127.0.0.1/tcp/0'],
    join: [...of.status().addresses],
    logger: silentLogger
  })
  onTestFinished(() => node.stop())
  await eventually(() => node.peers().some(({ services }) => services.includes(service)))
  return node
}

async function replying(args: readonly string[]): Promise<Running> {
  const command = launch(['reply', ...args])
  await command.seen('ready')
  return command
}

describe('cli reply', () => {
  it('reply: a command of the shell answers the mesh, until it is ended', async () => {
    const { at, node } = await served()
    const script =
      'read line; [ "$line" = bad ] && echo "no $line" >&2 && exit 3; echo "$SKEIN_SERVICE $line"'
    const command = await replying([
      'shout',
      '--exec',
      script,
      '--content-type',
      'text/plain',
      ...at
    ])
    const asking = await neighbour(node, 'shout')
    const answers = await Promise.all(
      ['a', 'b', 'c'].map((text) => asking.request('shout', `${text}\n`, { timeoutMs: 30_000 }))
    )
    expect(answers.map((answer) => answer.text())).toEqual(['shout a\n', 'shout b\n', 'shout c\n'])
    expect(answers[0]).toMatchObject({ contentType: 'text/plain', responder: node.peerId })
    await expect(asking.request('shout', 'bad\n', { timeoutMs: 30_000 })).rejects.toMatchObject({
      code: 'ERR_RESPONDER',
      message: 'no bad'
    })
    command.child.kill('SIGTERM')
    expect((await command.result).code).toBe(0)
    await expect(node.request('shout', 'x')).rejects.toMatchObject({ code: 'ERR_NO_RESPONDERS' })
  })

  it('reply: gives back what it gets with --echo; killed, its service ends with it', async () => {
    const { at, node } = await served()
    const first = await replying(['echo', '--echo', ...at])
    const command = await replying(['echo', '--echo', '--json', ...at])
    // One at a node: who comes later takes over.
    expect((await first.result).stderr).toContain('Another command answers this service')
    const payload = Uint8Array.of(0, 255, 10)
    const headers = { a: 'ü' }
    const answer = await node.request('echo', payload, { contentType: 'image/png', headers })
    expect(Buffer.from(answer.payload)).toEqual(Buffer.from(payload))
    expect(answer).toMatchObject({ contentType: 'image/png', headers })
    command.child.kill('SIGKILL')
    await command.result
    const codes: unknown[] = []
    await eventually(async () => {
      const failure: unknown = await node.request('echo', '').catch((error: unknown) => error)
      const { code } = failure as { code: string }
      codes.push(code)
      return code === 'ERR_NO_RESPONDERS'
    })
    expect(new Set(codes)).toEqual(new Set(['ERR_RESPONDER', 'ERR_NO_RESPONDERS']))
  })

  it.each([
    [['reply', 's', '--echo', '--exec', 'cat'], '--exec'],
    [['reply', 's', '--echo', '--concurrency', '0'], '--concurrency']
  ])('reply: %j is wrong usage', async (args, option) => {
    const { code, stderr } = await run(args)
    expect(code).toBe(2)
    expect(stderr).toContain(option)
  })
})
