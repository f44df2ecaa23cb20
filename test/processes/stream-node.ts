// One end of a large transfer over a byte stream, as a process. `stream-node.ts receive` prints its address and then what
// it got of each stream; `send <address> <bytes> <hash>` prints how it went. With `hash` both sum up what they see.
import { createHash } from 'node:crypto'
import { createNode, isSkeinError, silentLogger } from '../../src/index.ts'
import type { IncomingStream, SkeinNode } from '../../src/index.ts'

const CHUNK = 64 * 1024
/** Sent, when the transfer counts as under way. */
const UNDER_WAY = 4 * 2 ** 20
/** A chunk in which no piece is like another. */
const PATTERN = Uint8Array.from({ length: CHUNK }, (_, at) => (at * 2654435761) >>> 24)

export interface Transfer {
  readonly bytes: number
  readonly ms: number
  readonly digest: string
  /** Resident memory, MiB: when a quarter was through, and the most from then on. */
  readonly rssAtQuarter: number
  readonly rssMost: number
  /** Code of what broke it. */
  readonly code?: string | undefined
}

const say = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`)

/** What goes through, and what the process takes meanwhile. */
class Meter {
  readonly #total: number
  readonly #hash = createHash('sha256')
  readonly #hashes: boolean
  readonly #startedAt = performance.now()
  #bytes = 0
  #next: number
  #rssAtQuarter = 0
  #rssMost = 0

  constructor(total: number, hashes: boolean) {
    this.#total = total
    this.#hashes = hashes
    this.#next = total / 4
  }

  count(chunk: Uint8Array): void {
    this.#bytes += chunk.length
    if (this.#hashes) this.#hash.update(chunk)
    if (this.#bytes < this.#next) return
    this.#next += this.#total / 100
    const rss = process.memoryUsage.rss() / 2 ** 20
    this.#rssAtQuarter ||= Math.round(rss)
    this.#rssMost = Math.max(this.#rssMost, Math.round(rss))
  }

  report(): Transfer {
    return {
      bytes: this.#bytes,
      ms: performance.now() - this.#startedAt,
      digest: this.#hash.digest('hex'),
      rssAtQuarter: this.#rssAtQuarter,
      rssMost: this.#rssMost
    }
  }
}

async function receive(stream: IncomingStream): Promise<void> {
  const { bytes, hash } = stream.metadata as { bytes: number; hash: boolean }
  const meter = new Meter(bytes, hash)
  try {
    for await (const chunk of stream.readable) meter.count(chunk)
  } catch (error) {
    say({ ...meter.report(), code: isSkeinError(error) ? error.code : String(error) })
    throw error
  }
  const report = meter.report()
  const writer = stream.writable.getWriter()
  await writer.write(Buffer.from(report.digest))
  await writer.close()
  say(report)
}

async function send(node: SkeinNode, bytes: number, hash: boolean): Promise<Transfer> {
  const meter = new Meter(bytes, hash)
  const stream = await node.openStream('bulk', { metadata: { bytes, hash } })
  try {
    const writer = stream.writable.getWriter()
    for (let left = bytes; left > 0; left -= CHUNK) {
      const chunk = PATTERN.subarray(0, left)
      meter.count(chunk)
      await writer.write(chunk)
      // The other side has read some of it: it grants no more than that.
      if (bytes - left === UNDER_WAY) say({ sending: bytes })
    }
    await writer.close()
    let answer = ''
    for await (const chunk of stream.readable) answer += Buffer.from(chunk).toString()
    const report = meter.report()
    if (answer !== report.digest) throw new Error(`sent ${report.digest}, received ${answer}`)
    return report
  } catch (error) {
    return { ...meter.report(), code: isSkeinError(error) ? error.code : String(error) }
  }
}

const [role = '', address = '', size = '0', hash = ''] = process.argv.slice(2)
const node = await createNode({
  mesh: 'stream-transfer',
  mdns: false,
  listen: ['/ip4/127.0.0.1/tcp/0'],
  join: role === 'send' ? [address] : [],
  logger: silentLogger
})
if (role === 'receive') {
  node.handleStream('bulk', receive)
  say({ address: node.status().addresses[0] })
} else {
  if (!node.peers().some(({ connected }) => connected)) {
    await new Promise<void>((resolve) => node.on('peer:up', () => resolve()))
  }
  say(await send(node, Number(size), hash === 'hash'))
  await node.stop()
}
