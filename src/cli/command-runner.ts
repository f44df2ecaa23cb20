import { type ChildProcess, spawn } from 'node:child_process'
import { SkeinError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'

export interface CommandInput {
  readonly payload: Uint8Array
  readonly env: Readonly<Record<string, string>>
  /** Ends the command. */
  readonly signal: AbortSignal
}

/** Of what a command says on standard error, so much is kept for its failure. */
const STDERR_CHARACTERS = 500

/** A command that is to end has so long to do it by itself, ms. */
const PATIENCE_MS = 2000

/** To the shell and to what it has started. */
function signalGroup({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, signal)
  } catch (error) {
    // It has ended already.
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

/**
 * Runs a command of the shell with the payload as its standard input. Resolves with its standard output when it ends
 * with exit code 0; rejects with ERR_RESPONDER and what it said on standard error when it does not.
 */
export function runCommand(command: string, input: CommandInput): Promise<Buffer> {
  const { env, payload, signal } = input
  return new Promise((resolve, reject) => {
    // A group of its own, so that what the shell has started ends with it.
    const child = spawn(command, {
      shell: true,
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...process.env, ...env }
    })
    const output: Buffer[] = []
    let bytes = 0
    let complaint = ''
    let patience: NodeJS.Timeout | undefined
    const end = (): void => {
      signalGroup(child, 'SIGTERM')
      patience ??= setTimeout(() => signalGroup(child, 'SIGKILL'), PATIENCE_MS)
    }
    if (signal.aborted) end()
    else signal.addEventListener('abort', end, { once: true })
    child.stdout.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes > LIMITS.payloadBytes) end()
      else output.push(chunk)
    })
    child.stderr.on('data', (chunk: Buffer) => {
      complaint = (complaint + chunk.toString()).slice(-STDERR_CHARACTERS)
    })
    // It need not read what it is given.
    child.stdin.on('error', () => undefined)
    child.stdin.end(payload)
    child.on('error', reject)
    child.on('close', (code, killed) => {
      signal.removeEventListener('abort', end)
      clearTimeout(patience)
      if (bytes > LIMITS.payloadBytes) {
        const text = `the command answered with more than ${LIMITS.payloadBytes} bytes`
        reject(new SkeinError('ERR_PAYLOAD_TOO_LARGE', text))
      } else if (code === 0) resolve(Buffer.concat(output))
      else {
        const how = code === null ? `was ended by ${killed}` : `ended with exit code ${code}`
        reject(new SkeinError('ERR_RESPONDER', complaint.trim() || `the command ${how}`))
      }
    })
  })
}
