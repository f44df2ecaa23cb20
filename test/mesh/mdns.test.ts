import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

import { expect, it } from 'vitest'
import { skipFor } from '../fixtures/needs.ts'

const TRIAL = fileURLToPath(new URL('mdns-trial.ts', import.meta.url))
const SETUP = 'ip link set lo up multicast on && ip route add 224.0.0.0/4 dev lo'

/** Runs in a network of its own, with nothing in it but loopback, and multicast on that. */
function inNamespace(command: string): { status: number | null; stdout: string; stderr: string } {
  return spawnSync('unshare', ['-rn', 'sh', '-c', `${SETUP} && ${command}`], {
    encoding: 'utf8',
    timeout: 15_000
  })
}

/** Where user namespaces are forbidden, a test of multicast would reach the real network. */
function lack(): string | undefined {
  const { status, stderr } = inNamespace('true')
  return status === 0 ? undefined : `no namespaces with unshare and ip: ${stderr.trim()}`
}

it('mdns: nodes of a mesh find each other within a second, and no others', (context) => {
  skipFor(lack(), context)
  const { status, stdout, stderr } = inNamespace(
    `exec '${process.execPath}' --import tsx '${TRIAL}'`
  )
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  const result = JSON.parse(stdout) as {
    joinMs: number
    refused: string[]
    found: number
    dials: number
  }
  expect(result.joinMs).toBeLessThan(1000)
  expect(result).toMatchObject({ refused: [], found: 0, dials: 0 })
})
