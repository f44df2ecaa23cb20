import { onTestFinished } from 'vitest'
import { WebSocket } from 'ws'
import { pushSchemas } from '../../src/sidecar/websocket/pushes.ts'
import { TOKEN } from './webhook-endpoint.ts'

export type Frame = ReturnType<typeof JSON.parse>

/** A client of the WebSocket, which checks each frame against its schema. */
export class SocketClient {
  readonly socket: WebSocket
  readonly frames: Frame[] = []
  readonly closed: Promise<number>
  readonly #waiting = new Set<() => void>()
  #ref = 0

  constructor(socket: WebSocket) {
    this.socket = socket
    socket.on('message', (data: Buffer) => {
      const frame: Frame = JSON.parse(data.toString())
      pushSchemas[frame.type as keyof typeof pushSchemas].parse(frame)
      this.frames.push(frame)
      for (const look of this.#waiting) look()
    })
    this.closed = new Promise((resolve) => socket.once('close', resolve))
  }

  /** The next frame for which `is` is true; it is taken. */
  take(is: (frame: Frame) => boolean): Promise<Frame> {
    return new Promise((resolve) => {
      const look = (): void => {
        const at = this.frames.findIndex(is)
        if (at === -1) return
        this.#waiting.delete(look)
        resolve(this.frames.splice(at, 1)[0])
      }
      this.#waiting.add(look)
      look()
    })
  }

  next(type: string): Promise<Frame> {
    return this.take((frame) => frame.type === type)
  }

  /** The answer to a command. */
  ask(command: Record<string, unknown>): Promise<Frame> {
    const ref = ++this.#ref
    this.socket.send(JSON.stringify({ ref, ...command }))
    return this.take((frame) => frame.ref === ref)
  }
}

const bearer = `bearer.${Buffer.from(TOKEN).toString('base64url')}`

/** Resolves when it is open; closed at the end of the test. Rejects with the status of a refusal. */
export async function connect(
  url: string,
  protocols: string[] = ['skein.v1', bearer],
  options: ConstructorParameters<typeof WebSocket>[2] = {}
): Promise<SocketClient> {
  const socket = new WebSocket(`${url.replace('http', 'ws')}/v1/ws`, protocols, options)
  onTestFinished(() => socket.terminate())
  const client = new SocketClient(socket)
  await new Promise<void>((resolve, reject) => {
    socket.once('open', resolve)
    socket.once('unexpected-response', (_request, response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () => {
        const { code } = JSON.parse(Buffer.concat(chunks).toString())
        reject(new Error(`${response.statusCode} ${code}`))
      })
    })
    socket.once('error', reject)
  })
  return client
}
