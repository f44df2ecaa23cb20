import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'

/** A script of this folder as a process, whose output is read line by line. */
export function startScript(
  script: string,
  ...args: readonly string[]
): [ChildProcess, () => Promise<string>] {
  const path = fileURLToPath(new URL(script, import.meta.url))
  const child = spawn(process.execPath, ['--import', 'tsx', path, ...args], {
    stdio: ['ignore', 'pipe', 'inherit']
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  const line = async (): Promise<string> => {
    const { done, value } = await lines.next()
    if (done === true) throw new Error(`${script} ${args.join(' ')} ended without a word`)
    return value as string
  }
  return [child, line]
}

/** How long the bare encrypted transport takes for so many bytes, ms. */
export async function rawTransfer(bytes: number): Promise<number> {
  const [receiver, address] = startScript('./split-raw-stream.ts', 'receive')
  const [, ms] = startScript('./split-raw-stream.ts', 'send', await address(), String(bytes))
  const took = Number(await ms())
  receiver.kill('SIGKILL')
  return took
}
