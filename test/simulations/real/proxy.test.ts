import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import { Proxy } from '../../../simulations/real/proxy.ts'
import type { Impairment, LinkSet } from '../../../simulations/scenario/step.ts'
import { Impairments } from '../../../simulations/world/link-conditions.ts'
import { systemClock } from '../../../src/core/clock.ts'
import { seededRandom } from '../../../src/core/random.ts'

const ALL: LinkSet = { kind: 'all' }
const FROM_A: LinkSet = { kind: 'of', nodes: ['a'], direction: 'one-way' }

/** Node a dials node b, through the proxy. */
class Link {
  readonly impairments = new Impairments({ latencyMs: 0, jitterMs: 0, bytesPerSecond: undefined })
  readonly #server = createServer()
  readonly proxy: Proxy

  constructor() {
    this.proxy = new Proxy(
      { clock: systemClock, random: seededRandom(1) },
      {
        port: () => (this.#server.address() as AddressInfo).port,
        there: () => this.impairments.between('a', 'b'),
        back: () => this.impairments.between('b', 'a')
      }
    )
  }

  async start(): Promise<void> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    await this.proxy.start()
  }

  /** A new connection, as a and as b have it. */
  async connect(): Promise<readonly [a: Socket, b: Socket]> {
    const accepted = once(this.#server, 'connection')
    const a = connect(this.proxy.port, '127.0.0.1')
    const [b] = (await accepted) as [Socket]
    return [a, b]
  }

  break(links: LinkSet, impairment: Impairment): void {
    this.impairments.add(0, links, impairment)
    this.proxy.change()
  }

  mend(): void {
    this.impairments.delete(0)
    this.proxy.change()
  }

  async stop(): Promise<void> {
    await this.proxy.stop()
    this.#server.close()
  }
}

async function startLink(): Promise<Link> {
  const link = new Link()
  await link.start()
  onTestFinished(() => link.stop())
  return link
}

/** The next bytes that come, as text, until there are so many. */
async function read(socket: Socket, length: number): Promise<string> {
  let text = ''
  while (text.length < length) {
    const [bytes] = (await once(socket, 'data')) as [Buffer]
    text += bytes.toString()
  }
  return text
}

describe('simulations: a proxy between two processes', () => {
  it('carries everything both ways, in order', async () => {
    const link = await startLink()
    const [a, b] = await link.connect()
    a.write('x'.repeat(3_000_000))
    const there = await read(b, 3_000_000)
    expect(there.length).toBe(3_000_000)
    b.write('back')
    expect(await read(a, 4)).toBe('back')
    a.end()
    await once(b.resume(), 'close')
  })

  it('is as late as the link, whatever the jitter in order', async () => {
    const link = await startLink()
    const [a, b] = await link.connect()
    link.break(FROM_A, { kind: 'latency', latencyMs: 40, jitterMs: 30 })
    const began = performance.now()
    for (const letter of 'abcdefgh') {
      a.write(letter)
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(await read(b, 8)).toBe('abcdefgh')
    expect(performance.now() - began).toBeGreaterThanOrEqual(39)
  })

  it('is as slow as the link', async () => {
    const link = await startLink()
    const [a, b] = await link.connect()
    link.break(ALL, { kind: 'bandwidth', bytesPerSecond: 100_000 })
    const began = performance.now()
    a.write('x'.repeat(20_000))
    await read(b, 20_000)
    expect(performance.now() - began).toBeGreaterThanOrEqual(190)
  })

  it('cut one way, carries what goes the other, and goes on when it is mended', async () => {
    const link = await startLink()
    const [a, b] = await link.connect()
    a.write('before ')
    expect(await read(b, 7)).toBe('before ')
    link.break(FROM_A, { kind: 'cut' })
    const heard: string[] = []
    b.on('data', (bytes: Buffer) => heard.push(bytes.toString()))
    a.write('during ')
    b.write('answer')
    expect(await read(a, 6)).toBe('answer')
    expect(heard).toEqual([])
    link.mend()
    a.write('after')
    while (heard.join('').length < 12) await once(b, 'data')
    expect(heard.join('')).toBe('during after')
  })

  it('tells of an end only when the cut is mended', async () => {
    const link = await startLink()
    const [a, b] = await link.connect()
    const seen: string[] = []
    const closed = once(b.resume(), 'close').then(() => seen.push('closed'))
    link.break(ALL, { kind: 'cut' })
    a.resetAndDestroy()
    await once(a, 'close')
    // Another connection would have had time to end by now.
    const other = await startLink()
    const [c, d] = await other.connect()
    c.destroy()
    await once(d.resume(), 'close')
    seen.push('mended')
    link.mend()
    await closed
    expect(seen).toEqual(['mended', 'closed'])
  })

  it('takes a connection during a cut, and gives it up when it is mended', async () => {
    const link = await startLink()
    link.break(ALL, { kind: 'cut' })
    const a = connect(link.proxy.port, '127.0.0.1')
    await once(a, 'connect')
    // By the time that a later one is through on another link, this one was taken.
    await (await startLink()).connect()
    a.resume()
    link.mend()
    await once(a, 'close')
    const [c, d] = await link.connect()
    c.write('new')
    expect(await read(d, 3)).toBe('new')
  })
})
