import { spawn, spawnSync } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it, onTestFinished } from 'vitest'
import { skipFor } from '../fixtures/needs.ts'
import { finished, temporaryFolder } from './skein-process.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

const lack = ['bash', 'curl', 'python3'].find(
  (program) => spawnSync(program, ['--version']).error !== undefined
)

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** The blocks of the page, by heading, as one script that says where it is; with job control, as shells of people have it. */
async function scriptOf(page: string): Promise<string> {
  const text = await readFile(join(root, page), 'utf8')
  const parts = text.split(/^## /m).slice(1)
  const blocks = parts.map((part) => {
    const heading = part.slice(0, part.indexOf('\n'))
    const code = [...part.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map((match) => match[1]).join('\n')
    return `echo; echo '## ${heading}'\n${code}`
  })
  return `set -mu\ntrap 'for job in $(jobs -p); do kill -- -$job; done; wait' EXIT\n${blocks.join('\n')}`
}

const eventsOf = (text: string): unknown[] =>
  [...text.matchAll(/^event: message\ndata: (.*)$/gm)].map((match) => JSON.parse(match[1] ?? ''))

describe('docs: the page on curl', () => {
  it('works as printed', async (context) => {
    skipFor(lack === undefined ? undefined : `${lack} is not installed`, context)
    const folder = await temporaryFolder(onTestFinished)
    const port = await freePort()
    const application = await freePort()
    const script = (await scriptOf('docs/curl.md'))
      .replaceAll('8080', String(application))
      .replaceAll('127.0.0.1:7400', `127.0.0.1:${port}`)
      .replaceAll('dist/cli/main.js', join(root, 'dist/cli/main.js'))
    const child = spawn('bash', ['-c', script], {
      cwd: folder,
      env: {
        ...process.env,
        SKEIN_MESH: `curl-${port}-${process.pid}`,
        SKEIN_NO_MDNS: '1',
        HOME: folder
      },
      stdio: ['ignore', 'pipe', 'pipe']
    })
    onTestFinished(() => void child.kill())
    const { code, stderr, stdout } = await finished(child)
    expect(code, `${stdout}\n${stderr}`).toBe(0)
    const seen = await readFile(join(folder, 'seen.txt'), 'utf8')
    expect(eventsOf(seen)).toMatchObject([
      { skeintopic: 'orders/created', data: { id: 7 } },
      { skeintopic: 'orders/lines' },
      { skeintopic: 'orders/lines' }
    ])
    const resumed = await readFile(join(folder, 'resumed.txt'), 'utf8')
    expect(eventsOf(resumed)).toMatchObject([
      { data_base64: Buffer.from('three').toString('base64') }
    ])
    expect(stdout).toContain('{"acked":1,"nacked":0}')
    const taken = await readFile(join(folder, 'taken.txt'), 'utf8')
    expect(taken.trim().split('\n').toSorted()).toEqual([
      'orders/created {"id":7}',
      'orders/lines one',
      'orders/lines three',
      'orders/lines two'
    ])
    expect(stdout).toContain('{"sku": "A1", "price": 42}')
  }, 60_000)
})
