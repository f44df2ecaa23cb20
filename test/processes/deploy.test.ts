import { spawnSync } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it, onTestFinished } from 'vitest'
import { skipFor } from '../fixtures/needs.ts'
import { NodeProcess, randomMesh, run, temporaryFolder } from './skein-process.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const TOKEN = 'a-token-of-32-letters-and-digits'
const deployed = (name: string): Promise<string> => readFile(join(root, 'deploy', name), 'utf8')

/** The values of a setting of a unit. */
const settings = (unit: string, name: string): string[] =>
  [...unit.matchAll(new RegExp(`^${name}=(.*)$`, 'gm'))].map((match) => match[1] ?? '')

describe('deploy: the systemd unit', () => {
  it('is one that systemd takes', async (context) => {
    const analyze = spawnSync('systemd-analyze', ['--version'])
    skipFor(analyze.error === undefined ? undefined : 'systemd-analyze is not installed', context)
    const folder = await temporaryFolder(onTestFinished)
    const copy = join(folder, 'skein.service')
    await writeFile(
      copy,
      (await deployed('skein.service')).replaceAll('/usr/bin/skein', '/bin/true')
    )
    const { status, stderr } = spawnSync('systemd-analyze', ['verify', copy], { encoding: 'utf8' })
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  })

  it('starts a node of a closed mesh with what it was given, and waits until it is ready', async () => {
    const unit = await deployed('skein.service')
    const folder = await temporaryFolder(onTestFinished)
    for (const credential of settings(unit, 'LoadCredential')) {
      const name = credential.slice(0, credential.indexOf(':'))
      if (name === 'network.key') await run(['key', 'create', join(folder, name)])
      else await writeFile(join(folder, name), TOKEN)
    }
    const state = join(folder, 'skein')
    const argumentsOf = (line: string): string[] => {
      const [program, ...args] = line.replaceAll('%d', folder).replaceAll('%S', folder).split(' ')
      expect(program).toBe('/usr/bin/skein')
      return args.map((arg) => (arg === '127.0.0.1:7400' ? '127.0.0.1:0' : arg))
    }
    const [start = '', post = ''] = ['ExecStart', 'ExecStartPost'].flatMap((name) =>
      settings(unit, name)
    )
    const node = new NodeProcess(state, [...argumentsOf(start).slice(1), '--mesh', randomMesh()])
    onTestFinished(async () => void (await node.kill()))
    await node.start()
    expect(node.token).toBe(TOKEN)
    expect(await node.call('GET', '/v1/status')).toHaveProperty('networkKeyId')
    expect(await run(argumentsOf(post))).toMatchObject({ code: 0, stderr: '' })
  })
})
