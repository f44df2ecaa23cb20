import { Agent, createServer, request } from 'node:http'
import { type AddressInfo, type Socket, connect } from 'node:net'
import { WebSocket } from 'ws'
import { type Load, Marks, loaded, mark } from './load.ts'
import { answerCalls } from './role.ts'

// An application beside a node: it talks HTTP and nothing else.

export interface Door {
  readonly url: string
  readonly token: string
}

const agent = new Agent({ keepAlive: true, maxSockets: 256 })
const marks = new Marks()
/** How events come. */
export type DoorKind = 'sse' | 'ws'

const held: Array<Socket | WebSocket> = []
let events = 0

const EVENT = Buffer.from('\nevent: message\n')

/** Counts the events of a stream without looking into them: the node is what is measured. */
function countEvents(socket: Socket): void {
  socket.on('data', (chunk: Buffer) => {
    for (let at = chunk.indexOf(EVENT); at !== -1; at = chunk.indexOf(EVENT, at + 1)) events++
  })
}

function openStream({ token, url }: Door, filter: string): Promise<Socket> {
  const { hostname, port } = new URL(url)
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname)
    socket.on('error', reject)
    socket.on('close', () => reject(new Error('a stream ended')))
    socket.write(
      `GET /v1/subscribe?filter=${filter} HTTP/1.1\r\nhost: ${hostname}\r\nauthorization: Bearer ${token}\r\n\r\n`
    )
    socket.once('data', (chunk: Buffer) => {
      const head = chunk.toString('latin1')
      if (head.startsWith('HTTP/1.1 200')) resolve(socket)
      else reject(new Error(head.split('\r\n')[0]))
    })
  })
}

function openWebSocket({ token, url }: Door, filter: string): Promise<WebSocket> {
  const socket = new WebSocket(`${url.replace('http', 'ws')}/v1/ws`, ['skein.v1'], {
    headers: { authorization: `Bearer ${token}` },
    perMessageDeflate: false,
    skipUTF8Validation: true
  })
  return new Promise((resolve, reject) => {
    socket.on('error', reject)
    socket.on('open', () => socket.send(JSON.stringify({ type: 'subscribe', ref: 1, filter })))
    // The first frame says that it is subscribed, all others are messages.
    socket.once('message', () => {
      socket.on('message', () => events++)
      resolve(socket)
    })
  })
}

async function openEvents(door: Door, kind: DoorKind): Promise<Socket | WebSocket> {
  if (kind === 'ws') return openWebSocket(door, 'bench/events')
  const socket = await openStream(door, 'bench/events')
  countEvents(socket)
  return socket
}

function post(door: Door, path: string, body: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const call = request(`${door.url}${path}`, {
      method: 'POST',
      agent,
      headers: { authorization: `Bearer ${door.token}`, 'content-type': 'text/plain' }
    })
    call.on('error', reject)
    call.on('response', (response) => {
      response.resume()
      const status = response.statusCode ?? 0
      response.on('end', () => (status < 300 ? resolve() : reject(new Error(`${path}: ${status}`))))
    })
    call.end(body)
  })
}

answerCalls({
  open: async ({ count, door, kind }: { count: number; door: Door; kind: DoorKind }) => {
    const atOnce = 50
    for (let n = 0; n < count; n += atOnce) {
      const batch = Array.from({ length: Math.min(atOnce, count - n) }, () =>
        openEvents(door, kind)
      )
      held.push(...(await Promise.all(batch)))
    }
  },
  events: () => events,
  /** A webhook that answers a service with what it was asked. */
  echo: async (door: Door) => {
    const server = createServer((call, answer) => call.pipe(answer)).listen(0, '127.0.0.1')
    // Between two measurements nothing comes.
    server.keepAliveTimeout = 0
    await new Promise((resolve) => server.once('listening', resolve))
    const { port } = server.address() as AddressInfo
    const response = await fetch(`${door.url}/v1/services/bench`, {
      method: 'PUT',
      headers: { authorization: `Bearer ${door.token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ webhook: `http://127.0.0.1:${port}/`, concurrency: 1024 })
    })
    if (!response.ok) throw new Error(`services: ${response.status}`)
  },
  requests: ({ door, ...load }: Load & { door: Door }) =>
    loaded(load, () => post(door, '/v1/request/bench', 'x'.repeat(128))),
  watch: async (door: Door) => {
    const socket = await openStream(door, 'bench/marks')
    let text = ''
    socket.setEncoding('utf8').on('data', (chunk: string) => {
      const blocks = (text + chunk).split('\n\n')
      text = blocks.pop() ?? ''
      for (const block of blocks) {
        const data = /^data: (.*)$/m.exec(block)?.[1]
        if (data !== undefined) marks.add((JSON.parse(data) as { data: string }).data)
      }
    })
  },
  marks: () => marks.take(),
  publishMarks: ({ door, ...load }: Load & { door: Door }) =>
    loaded(load, () => post(door, '/v1/publish/bench/marks', mark()))
})
