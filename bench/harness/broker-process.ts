import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import net from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { BrokerCommand } from '../adapters/contract.ts'
import { ENVIRONMENT } from '../contenders.ts'

const OPEN_TRIES = 100
const OPEN_EVERY_MS = 50
/** /proc counts CPU time in steps of 10 ms. */
const TICKS_PER_SECOND = 100

/** As many free loopback ports, which the kernel hands out. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => net.createServer().listen(0, '127.0.0.1'))
  await Promise.all(servers.map((server) => once(server, 'listening')))
  const ports = servers.map((server) => (server.address() as net.AddressInfo).port)
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}

/** The server of one contender. */
export class BrokerProcess {
  readonly #child: ChildProcess
  #failure: Error | undefined

  constructor({ command, args }: BrokerCommand) {
    this.#child = spawn(command, args, { env: ENVIRONMENT, stdio: 'ignore' })
    this.#child.on('error', (error) => {
      this.#failure = error
    })
  }

  async listening(port: number): Promise<void> {
    for (let i = 0; i < OPEN_TRIES; i++) {
      if (this.#failure !== undefined) throw this.#failure
      if (await accepts(port)) return
      await sleep(OPEN_EVERY_MS)
    }
    throw new Error(`${this.#child.spawnfile} did not open port ${port}`)
  }

  /** User and system seconds so far. */
  cpuSeconds(): number {
    const stat = readFileSync(`/proc/${String(this.#child.pid)}/stat`, 'utf8')
    const fields = stat.replace(/^.*\) /, '').split(' ')
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.pid === undefined) return
    const ended = once(this.#child, 'exit')
    this.kill()
    await ended
  }

  kill(): void {
    if (this.#child.exitCode === null) this.#child.kill('SIGKILL')
  }
}

function accepts(port: number): Promise<boolean> {
  const socket = net.connect(port, '127.0.0.1')
  return new Promise((resolve) => {
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
