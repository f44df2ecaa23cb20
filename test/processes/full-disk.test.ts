import { describe, expect, it, onTestFinished } from 'vitest'
import { LOOPBACK, inNamespace } from './namespace.ts'
import { temporaryFolder } from './skein-process.ts'

interface Outcome {
  /** The first publish that was refused, and one after it. */
  readonly refusal: { readonly status: number; readonly code: string }
  readonly still: { readonly status: number; readonly code: string }
  readonly whileFull: string
  readonly health: number
  readonly acked: number
  readonly lagged: number
  readonly confirmed: number
  readonly newSession: boolean
}

const script = new URL('./full-disk-scenario.ts', import.meta.url)

const nothingLost = {
  repeated: 0,
  kept: { lost: 0, twice: 0 },
  keptAfterKill: { lost: 0, twice: 0 }
}

describe('full disk: a small file system', () => {
  const disk = async (): Promise<{ folder: string; setup: string }> => {
    const folder = await temporaryFolder(onTestFinished)
    return { folder, setup: `${LOOPBACK} && mount -t tmpfs -o size=48m tmpfs '${folder}'` }
  }

  it('refuses to publish below the reserve, still answers and acknowledges, and goes on when there is space', async (context) => {
    const { folder, setup } = await disk()
    const outcome = await inNamespace<Outcome>(context, setup, script, [folder, 'reserve'])
    expect(outcome).toMatchObject({
      refusal: { status: 507, code: 'ERR_STORE_FULL' },
      still: { status: 507, code: 'ERR_STORE_FULL' },
      whileFull: 'full',
      health: 200,
      newSession: false,
      ...nothingLost
    })
    expect(outcome.confirmed).toBeGreaterThan(100)
    expect(outcome.acked).toBeGreaterThan(0)
    expect(outcome.lagged).toBe(outcome.acked)
  }, 60_000)

  it('recovers from a write that failed for lack of space, in a new session, without a loss', async (context) => {
    const { folder, setup } = await disk()
    const outcome = await inNamespace<Outcome>(context, setup, script, [folder, 'failing'])
    expect(outcome).toMatchObject({
      refusal: { status: 503, code: 'ERR_STORE_WRITE' },
      still: { status: 503, code: 'ERR_STORE_WRITE' },
      whileFull: 'failed',
      health: 200,
      newSession: true,
      ...nothingLost
    })
  }, 60_000)
})
