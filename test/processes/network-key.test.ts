import { randomBytes } from 'node:crypto'
import net from 'node:net'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import {
  NodeProcess,
  eventually,
  finished,
  randomMesh,
  run,
  skein,
  temporaryFolder
} from './skein-process.ts'

async function keyFile(folder: string, name: string): Promise<string> {
  const path = join(folder, name)
  expect((await run(['key', 'create', path])).code).toBe(0)
  return path
}

async function start(dataDir: string, args: readonly string[]): Promise<NodeProcess> {
  const quiet = ['--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0']
  const node = new NodeProcess(dataDir, [...quiet, ...args])
  onTestFinished(async () => void (await node.kill()))
  await node.start()
  return node
}

const addressOf = (node: NodeProcess): string => node.ready.listen[0] ?? ''

/** A multistream-select message: length and text with its line feed. */
const message = (text: string): Buffer =>
  Buffer.concat([Buffer.from([text.length + 1]), Buffer.from(`${text}\n`)])

/** A stranger on a TCP connection, who knows no more than anyone can read of the protocol. */
class Stranger {
  readonly #socket: net.Socket
  #chunks: Buffer[] = []

  constructor(node: NodeProcess) {
    const port = Number(/\/tcp\/(\d+)/.exec(addressOf(node))?.[1])
    this.#socket = net.connect(port, '127.0.0.1')
    this.#socket.on('data', (chunk: Buffer) => this.#chunks.push(chunk))
    this.#socket.on('error', () => this.#socket.destroy())
    onTestFinished(() => void this.#socket.destroy())
  }

  /** What the node answers in multistream-select. */
  async ask(...texts: string[]): Promise<string[]> {
    this.#socket.write(Buffer.concat(['/multistream/1.0.0', ...texts].map(message)))
    const answers = (): string[] => this.#bytes.toString('latin1').split('\n').slice(0, -1)
    await eventually(() => answers().length > texts.length || this.#socket.closed || undefined)
    return answers().map((answer) => answer.slice(1))
  }

  /** Sends a frame of Noise; resolves with the bytes of the answer, 0 if the node hung up. */
  async noise(frame: Uint8Array): Promise<number> {
    this.#chunks = []
    this.#socket.write(Buffer.concat([Buffer.from([0, frame.length]), frame]))
    // An answer is whole when it is as long as it says at its beginning.
    const isWhole = (): boolean =>
      this.#bytes.length > 2 && this.#bytes.length >= 2 + this.#bytes.readUInt16BE()
    await eventually(() => isWhole() || this.#socket.closed || undefined)
    return this.#bytes.length
  }

  get #bytes(): Buffer {
    return Buffer.concat(this.#chunks)
  }
}

describe('network key: a node with another one', () => {
  it('is refused with a typed error on both sides, gets no message and learns nothing', async () => {
    const folder = await temporaryFolder(onTestFinished)
    const mesh = ['--mesh', randomMesh()]
    const key = await keyFile(folder, 'key')
    const other = await keyFile(folder, 'other')
    const member = await start(join(folder, 'member'), [...mesh, '--network-key', key])
    const joinMember = ['--join', addressOf(member)]
    const friendArgs = [...mesh, '--network-key', key, ...joinMember]
    const friend = await start(join(folder, 'friend'), friendArgs)
    const outsiderArgs = [...mesh, '--network-key', other, ...joinMember]
    const outsider = await start(join(folder, 'outsider'), outsiderArgs)
    const open = await start(join(folder, 'open'), [...mesh, ...joinMember])
    for (const node of [member, outsider, open]) {
      await eventually(() => node.log.join('').includes('ERR_NETWORK_KEY_MISMATCH') || undefined, {
        what: 'the mismatch in the log'
      })
    }
    await eventually(async () => (await friend.connected()).length === 1 || undefined)

    const subs = [outsider, open, friend].map((node) => {
      const args = ['sub', 'secret', '--raw', '--count', '1', '--timeout', '1500ms']
      return finished(skein([...args, '--data-dir', node.dataDir]))
    })
    await eventually(async () => {
      const peers = await member.call<{ channels: string[] }[]>('GET', '/v1/peers')
      return peers.some((peer) => peer.channels.includes('secret')) || undefined
    })
    expect((await run(['pub', 'secret', 'to friends', '--data-dir', member.dataDir])).code).toBe(0)
    expect((await Promise.all(subs)).map(({ stdout }) => stdout)).toEqual(['', '', 'to friends\n'])

    expect(await member.connected()).toEqual([friend.ready.peerId])
    for (const node of [outsider, open]) {
      expect(await node.connected()).toEqual([])
      expect(await node.call('GET', '/v1/topics')).toMatchObject([{ channel: 'secret', logs: [] }])
      const known = JSON.stringify(await node.call('GET', '/v1/peers'))
      expect(known).not.toContain(friend.ready.peerId)
    }
    const doctor = await run(['doctor', '--data-dir', outsider.dataDir, '--network-key', other])
    expect(doctor.stdout).toContain('no peer is connected')
  })

  it('is answered nothing but the names of encrypters, and no protocol above them', async () => {
    const folder = await temporaryFolder(onTestFinished)
    const key = await keyFile(folder, 'key')
    const args = ['--mesh', randomMesh(), '--network-key', key]
    const member = await start(join(folder, 'member'), args)
    const { networkKeyId } = await member.call<{ networkKeyId: string }>('GET', '/v1/status')
    const wanted = ['/noise', '/plaintext/2.0.0', '/tls/1.0.0', '/ipfs/id/1.0.0', '/yamux/1.0.0']
    const protocols = [...wanted, '/skein/push/1.0.0', '/meshsub/1.2.0', '/ipfs/ping/1.0.0']
    expect(await new Stranger(member).ask(...protocols)).toEqual([
      '/multistream/1.0.0',
      ...protocols.map(() => 'na')
    ])
    // Asked for all it has, it names its encrypters: the id of the key, from which the key cannot be had.
    const [, listed = ''] = await new Stranger(member).ask('ls')
    const offered = listed.match(/\/[\w./-]+/g) ?? []
    expect(offered.filter((name) => !name.startsWith('/skein-noise/'))).toEqual([])
    // Under the right name the node shows who it is, and then wants a proof that takes the key.
    const stranger = new Stranger(member)
    const encrypter = `/skein-noise/${networkKeyId}`
    expect(await stranger.ask(encrypter)).toEqual(['/multistream/1.0.0', encrypter])
    expect(await stranger.noise(randomBytes(32))).toBeGreaterThan(0)
    expect(await stranger.noise(randomBytes(64))).toBe(0)
    expect(await member.connected()).toEqual([])
  })
})
