import { onTestFinished } from 'vitest'
import { LIMITS } from '../../src/core/limits.ts'
import { Requests } from '../../src/node/requests.ts'
import { EngineMesh, type MeshNode } from '../fixtures/engine-mesh.ts'
import { eventually } from '../processes/skein-process.ts'

/** Connected nodes over a network in memory, that announce themselves often. */
export async function servingMesh(
  count: number
): Promise<{ mesh: EngineMesh; nodes: MeshNode[]; requests: Requests[] }> {
  const mesh = new EngineMesh()
  onTestFinished(() => mesh.stop())
  const nodes = await mesh.nodes(count, { presenceIntervalMs: 40 })
  return { mesh, nodes, requests: nodes.map(requestsOf) }
}

function requestsOf(node: MeshNode): Requests {
  return new Requests(node.engine.services, LIMITS.payloadBytes)
}

/** Resolves when `node` knows that the others serve it. */
export function known(node: MeshNode, service: string, by: readonly MeshNode[]): Promise<boolean> {
  const { directory } = node.engine.mesh
  return eventually(() =>
    by.every(({ id }) => directory.get(id)?.services.includes(service) === true)
  )
}

/** A promise and what settles it. */
export function gate<Value = void>(): {
  readonly passed: Promise<Value>
  readonly open: (value: Value) => void
} {
  let open: (value: Value) => void = () => undefined
  const passed = new Promise<Value>((resolve) => (open = resolve))
  return { passed, open }
}

/** A handler that answers only when nobody waits any more. */
export function untilAborted({ signal }: { readonly signal: AbortSignal }): Promise<undefined> {
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(undefined), { once: true })
  })
}
