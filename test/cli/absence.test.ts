import { describe, expect, it, vi } from 'vitest'
import { run, startNode } from './command.ts'

// Each test runs several processes, one after the other.
vi.setConfig({ testTimeout: 60_000 })

const atOf = (node: { readonly ready: { readonly dataDir: string } }): string[] => [
  '--data-dir',
  node.ready.dataDir
]

async function end(node: Awaited<ReturnType<typeof startNode>>): Promise<void> {
  node.child.kill('SIGTERM')
  expect((await node.result).code).toBe(0)
}

/** Runs the command until its output satisfies `found`. */
async function eventually(
  args: readonly string[],
  found: (text: string) => boolean
): Promise<string> {
  for (;;) {
    const { code, text } = await run(args)
    if (code === 0 && found(text)) return text
    // What it waits for takes seconds: other tests need the machine meanwhile.
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
}

describe('cli with a node that was off', () => {
  it('sub: a durable subscriber gets what was published meanwhile, from a node that keeps it', async () => {
    const keeper = await startNode(['--name', 'keeper', '--keep', 'orders/#'])
    const join = ['--join', keeper.ready.listen[0] ?? '']
    const anna = await startNode(['--name', 'anna', ...join])
    const ben = await startNode(['--name', 'ben', ...join])
    const sub = ['sub', 'orders/#', '--durable', 'billing', '--raw']
    await run(['pub', 'orders/a', 'first', ...atOf(anna), '--confirm', 'replicas=1'])
    const first = await run([...sub, '--from', 'earliest', '--count', '1', ...atOf(ben)])
    expect(first.text).toBe('first\n')
    await eventually(['subscriptions', '--json', ...atOf(anna)], (text) =>
      text.includes('"subscription":"billing"')
    )
    await end(ben)
    const published = ['pub', 'orders/a', 'second', '--confirm', 'replicas=1', ...atOf(anna)]
    expect((await run(published)).code).toBe(0)
    await eventually(['subscriptions', ...atOf(anna)], (text) => /^ben .* off for /m.test(text))
    await end(anna)
    const back = await startNode(['--name', 'ben', ...join, ...atOf(ben)])
    const second = await run([...sub, '--count', '1', ...atOf(back)])
    expect(second.text).toBe('second\n')
    await end(back)
    await end(keeper)
  })

  it('send: reaches a peer that was off, and the sender learns of it', async () => {
    const anna = await startNode(['--name', 'anna'])
    const join = ['--join', anna.ready.listen[0] ?? '']
    const ben = await startNode(['--name', 'ben', ...join])
    await eventually(['peers', ...atOf(anna)], (text) => /^ben /m.test(text))
    await end(ben)
    const sent = await run(['send', 'ben', 'alerts', 'disk almost full', ...atOf(anna)])
    expect(sent).toMatchObject({ code: 0, stderr: '' })
    expect((await run(['outbox', ...atOf(anna)])).text).toContain(ben.ready.peerId)
    const back = await startNode(['--name', 'ben', ...join, ...atOf(ben)])
    const args = ['sub', '@me/#', '--durable', 'inbox', '--from', 'earliest', '--count', '1']
    const { text } = await run([...args, '--json', ...atOf(back)])
    expect(JSON.parse(text)).toMatchObject({
      topic: `@${ben.ready.peerId}/alerts`,
      payload: 'disk almost full',
      publisher: anna.ready.peerId
    })
    await eventually(['outbox', ...atOf(anna)], (shown) => shown === 'nothing waits\n')
    await end(back)
    await end(anna)
  })
})
