import { setMaxListeners } from 'node:events'
import type { Socket } from 'node:net'
import type { RawData, WebSocket } from 'ws'
import { SkeinError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { Logger } from '../../core/logger.ts'
import type { SkeinNode } from '../../node/contract.ts'
import type { EventSharing } from '../events/event-sharing.ts'
import type { OpenSubscriptions } from '../open-subscriptions.ts'
import { errorOfRequest } from '../problem.ts'
import { within } from '../waiting.ts'
import { type Command, type Ref, parseCommand, parseFrame } from './commands.ts'
import { errorText } from './pushes.ts'
import { SocketCommands, isLong } from './socket-commands.ts'
import { SocketServices } from './socket-services.ts'
import { SocketSubscriptions } from './socket-subscriptions.ts'
import { SocketWriter } from './socket-writer.ts'

export interface SocketConnectionComponents {
  readonly node: SkeinNode
  readonly subscriptions: OpenSubscriptions
  readonly sharing: EventSharing
  readonly logger: Logger
  readonly socket: WebSocket
  /** What `socket` speaks over. */
  readonly connection: Socket
  /** Aborts when the node stops. */
  readonly draining: AbortSignal
}

const GOING_AWAY = 1001
const UNSUPPORTED_DATA = 1003
/** A client that is told to go has so long to say goodbye, ms. */
export const GOODBYE_MS = 1000
/** Pings without a sign of life before a client is cut off. */
const MISSED_PINGS = 2

/** One client over WebSocket, from the upgrade to the end. */
export class SocketConnection {
  readonly #components: SocketConnectionComponents
  readonly #writer: SocketWriter
  readonly #subscriptions: SocketSubscriptions
  readonly #services: SocketServices
  readonly #commands: SocketCommands
  readonly #gone = new AbortController()
  #underWay = 0
  /** Of their frames, in characters. */
  #length = 0
  #waiting = 0
  #missed = 0
  /** Bytes that the system had taken at the last ping. */
  #taken = 0

  constructor(components: SocketConnectionComponents) {
    this.#components = components
    const { logger, node, sharing, subscriptions } = components
    const writer = new SocketWriter(components, () => this.#readOn())
    this.#writer = writer
    // Every request that is under way listens to it.
    setMaxListeners(0, this.#gone.signal)
    this.#subscriptions = new SocketSubscriptions({ node, subscriptions, sharing, writer, logger })
    this.#services = new SocketServices({ node, writer })
    this.#commands = new SocketCommands(
      { node, subscriptions: this.#subscriptions, services: this.#services },
      this.#gone.signal
    )
  }

  run(): void {
    const { connection, draining, socket } = this.#components
    const ticker = setInterval(() => this.#ping(), LIMITS.wsPingMs)
    ticker.unref()
    const onDraining = (): void => void this.#leave()
    socket.on('message', (data, isBinary) => this.#take(data, isBinary))
    socket.on('pong', () => (this.#missed = 0))
    const over = (): void => {
      clearInterval(ticker)
      draining.removeEventListener('abort', onDraining)
      this.#end()
    }
    // The one may be late where nothing is read.
    socket.once('close', over)
    connection.once('close', () => socket.terminate())
    draining.addEventListener('abort', onDraining, { once: true })
    if (draining.aborted) onDraining()
  }

  #take(data: RawData, isBinary: boolean): void {
    this.#missed = 0
    if (isBinary) {
      this.#components.socket.close(UNSUPPORTED_DATA, 'frames are JSON text')
      return
    }
    // As the server was told, frames are single buffers.
    const text = (data as Buffer).toString('utf8')
    let ref: Ref | undefined
    let command: Command
    try {
      const frame = parseFrame(text)
      ref = frame.ref
      command = parseCommand(frame)
    } catch (error) {
      this.#refuse(error, ref)
      return
    }
    if (isLong(command)) this.#runLong(command, text)
    else void this.#run(command, text)
  }

  async #run(command: Command, text: string): Promise<void> {
    this.#underWay++
    this.#length += text.length
    this.#readOn()
    await this.#answer(command, text)
    this.#underWay--
    this.#length -= text.length
    this.#readOn()
  }

  #runLong(command: Command, text: string): void {
    if (this.#waiting >= LIMITS.wsLongCommands) {
      const busy = `More than ${LIMITS.wsLongCommands} requests of this connection wait for answers.`
      this.#refuse(new SkeinError('ERR_BUSY', busy), command.ref)
      return
    }
    this.#waiting++
    void this.#answer(command, text).finally(() => this.#waiting--)
  }

  async #answer(command: Command, text: string): Promise<void> {
    try {
      const done = await this.#commands.run(command, text)
      this.#writer.write(done.text)
      done.begin?.()
    } catch (error) {
      this.#refuse(error, command.ref)
    }
  }

  #refuse(error: unknown, ref: Ref | undefined): void {
    const known = errorOfRequest(error)
    if (known.code === 'ERR_INTERNAL') {
      this.#components.logger.error({ error }, 'a command over WebSocket failed')
    }
    this.#writer.write(errorText(known, ref === undefined ? {} : { ref }))
  }

  /** Who sends more than is done, or does not take its answers, is not read from. */
  #readOn(): void {
    const { socket } = this.#components
    const isEnough =
      this.#underWay >= LIMITS.wsCommands ||
      this.#length >= LIMITS.httpPublishWindowBytes ||
      this.#writer.isFull
    if (isEnough === socket.isPaused) return
    if (isEnough) socket.pause()
    else socket.resume()
  }

  #ping(): void {
    const { connection, logger, socket } = this.#components
    const taken = connection.bytesWritten - connection.writableLength
    // A slow reader takes what was written before the ping; a client that we do not read from cannot answer it.
    const isSlow = this.#writer.isFull && taken > this.#taken
    const isHeld = socket.isPaused && !this.#writer.isFull
    this.#taken = taken
    if (isSlow || isHeld) this.#missed = 0
    else if (this.#missed++ >= MISSED_PINGS) {
      logger.info({ missed: MISSED_PINGS }, 'a WebSocket client does not answer: cut off')
      socket.terminate()
      return
    }
    if (socket.readyState === socket.OPEN) socket.ping()
  }

  /** The node stops: what the client has of services may be answered, then it is told to go. */
  async #leave(): Promise<void> {
    const { logger, socket } = this.#components
    await this.#subscriptions.close().catch((error: unknown) => {
      logger.warn({ error }, 'the subscriptions of a WebSocket client could not be closed')
    })
    await within(this.#services.drain(), LIMITS.serviceDrainMs, this.#gone.signal)
    socket.resume()
    socket.close(GOING_AWAY, 'the node stops')
    setTimeout(() => socket.terminate(), GOODBYE_MS).unref()
  }

  #end(): void {
    const { logger } = this.#components
    this.#gone.abort(new SkeinError('ERR_ABORTED', 'The client went away.'))
    Promise.all([this.#subscriptions.close(), this.#services.close()]).catch((error: unknown) => {
      logger.warn({ error }, 'what a WebSocket client had open could not be closed')
    })
  }
}
