import type { ChildProcess } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { MIB } from '../../src/core/limits.ts'
import { rawTransfer, startScript } from './raw-transfer.ts'
import { full } from './skein-process.ts'
import type { Transfer } from './stream-node.ts'

const BYTES = full ? 2048 * MIB : 16 * MIB
/** What a process may grow by between a quarter of the transfer and its end, MiB: garbage that waits to be collected. */
const GROWTH = 96

const mbPerSecond = (ms: number): number => Math.round(BYTES / 1000 / ms)

async function receiverOf(): Promise<[ChildProcess, string, () => Promise<string>]> {
  const [receiver, line] = startScript('./stream-node.ts', 'receive')
  const { address } = JSON.parse(await line()) as { address: string }
  return [receiver, address, line]
}

describe('streams: a large transfer between two processes', () => {
  it('arrives whole, and neither process grows', async () => {
    const [receiver, address, received] = await receiverOf()
    const transfer = async (hash: string): Promise<[Transfer, Transfer]> => {
      const [, sent] = startScript('./stream-node.ts', 'send', address, String(BYTES), hash)
      await sent()
      return [JSON.parse(await sent()) as Transfer, JSON.parse(await received()) as Transfer]
    }
    const [near, far] = await transfer('hash')
    expect(far).toMatchObject({ bytes: BYTES, digest: near.digest })
    expect(near.code).toBeUndefined()
    for (const { rssAtQuarter, rssMost } of [near, far]) {
      expect(rssMost - rssAtQuarter).toBeLessThan(GROWTH)
    }
    if (!full) return
    const [plain] = await transfer('plain')
    receiver.kill('SIGKILL')
    const rawMs = await rawTransfer(BYTES)
    process.stdout.write(
      `${BYTES / MIB} MiB on a byte stream: ${mbPerSecond(plain.ms)} MB/s, with SHA-256 at both ends ` +
        `${mbPerSecond(near.ms)} MB/s; on a raw encrypted stream: ${mbPerSecond(rawMs)} MB/s; resident memory ` +
        `${near.rssAtQuarter} to ${near.rssMost} MiB at the sender, ${far.rssAtQuarter} to ${far.rssMost} at the receiver\n`
    )
  }, 600_000)

  it('fails at the sender when the receiver is killed, and at the receiver when the sender is', async () => {
    const endless = String(2 ** 50)
    const [receiver, address, received] = await receiverOf()
    const [sender, sent] = startScript('./stream-node.ts', 'send', address, endless, 'plain')
    await sent()
    sender.kill('SIGKILL')
    expect(JSON.parse(await received())).toMatchObject({ code: 'ERR_STREAM' })
    const [, again] = startScript('./stream-node.ts', 'send', address, endless, 'plain')
    await again()
    receiver.kill('SIGKILL')
    expect(JSON.parse(await again())).toMatchObject({ code: 'ERR_STREAM' })
  }, 60_000)
})
