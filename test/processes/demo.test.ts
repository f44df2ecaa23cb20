import { spawn } from 'node:child_process'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it, onTestFinished } from 'vitest'
import { eventually, finished, temporaryFolder } from './skein-process.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** What `npm run demo` runs, with a folder of its own for what it leaves behind. */
async function demo(): Promise<{ child: ReturnType<typeof spawn>; folder: string }> {
  const folder = await temporaryFolder(onTestFinished)
  const child = spawn(process.execPath, ['--import', 'tsx', 'demo/tour.ts'], {
    cwd: root,
    env: { ...process.env, TMPDIR: folder },
    stdio: ['ignore', 'pipe', 'pipe']
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  return { child, folder }
}

/** What is left of its stage; the TypeScript loader keeps a cache there too. */
const left = async (folder: string): Promise<string[]> =>
  (await readdir(folder)).filter((name) => name.startsWith('skein-'))

describe('demo', () => {
  it('shows every step with a check mark, within a minute, and leaves nothing behind', async () => {
    const { child, folder } = await demo()
    const { code, stdout, stderr } = await finished(child)
    process.stdout.write(`${stdout.split('\n').at(-2) ?? ''}\n`)
    expect(stderr).toBe('')
    expect(stdout.match(/^ {3}✓ .*\d/gm)).toHaveLength(5)
    expect(stdout).not.toContain('✗')
    expect(code).toBe(0)
    expect(await left(folder)).toEqual([])
  }, 60_000)

  it('takes Ctrl-C at once, and leaves nothing behind', async () => {
    const { child, folder } = await demo()
    const ended = finished(child)
    await eventually(async () => (await readdir(join(folder))).some(isStage) || undefined)
    child.kill('SIGINT')
    expect(await ended).toMatchObject({ code: 130, stderr: '' })
    expect(await left(folder)).toEqual([])
  })
})

const isStage = (name: string): boolean => name.startsWith('skein-demo-')
