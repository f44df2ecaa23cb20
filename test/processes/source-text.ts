import { readFile, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { LIMITS } from '../../src/core/limits.ts'

const FOLDERS = ['protobufjs', '@types/node', 'libp2p', 'zod', 'typescript']

/** A text with at least `lines` lines out of the sources of dependencies: the same at every run. */
export async function sourceText(lines: number): Promise<Buffer> {
  const parts: Buffer[] = []
  let count = 0
  for (const folder of FOLDERS) {
    const root = fileURLToPath(new URL(`../../node_modules/${folder}`, import.meta.url))
    const names = (await readdir(root, { recursive: true }))
      .filter((name) => /\.(?:d\.ts|js|map)$/.test(name))
      .toSorted()
    for (const name of names) {
      const bytes = await readFile(join(root, name))
      if (bytes.length === 0 || bytes.includes('\r') || longestLine(bytes) >= LIMITS.payloadBytes)
        continue
      const whole = bytes.at(-1) === 0x0a ? bytes : Buffer.concat([bytes, Buffer.from('\n')])
      parts.push(whole)
      count += linesIn(whole)
      if (count >= lines) return Buffer.concat(parts)
    }
  }
  throw new Error(`the dependencies have only ${count} lines of source`)
}

export function linesIn(bytes: Buffer): number {
  let count = 0
  for (let at = bytes.indexOf(10); at !== -1; at = bytes.indexOf(10, at + 1)) count++
  return count
}

function longestLine(bytes: Buffer): number {
  let longest = 0
  let from = 0
  for (;;) {
    const end = bytes.indexOf(10, from)
    longest = Math.max(longest, (end === -1 ? bytes.length : end) - from)
    if (end === -1) return longest
    from = end + 1
  }
}
