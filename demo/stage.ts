import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createNode, silentLogger, type NodeOptions, type SkeinNode } from '../src/index.ts'
import type { Link } from './link.ts'

/** Where the tour takes place: its nodes, links and folder, all of which are gone afterwards. */
export class Stage {
  readonly #folder: string
  readonly #nodes = new Set<SkeinNode>()
  readonly #links = new Set<Link>()

  private constructor(folder: string) {
    this.#folder = folder
  }

  /** At once: a signal in between would leave the folder behind. */
  static open(): Stage {
    return new Stage(mkdtempSync(join(tmpdir(), 'skein-demo-')))
  }

  /** A node on disk; one that was here before, by its name, goes on with what it had. */
  async node(name: string, options: NodeOptions): Promise<SkeinNode> {
    const dataDir = join(this.#folder, name)
    const node = await createNode({ name, dataDir, logger: silentLogger, ...options })
    this.#nodes.add(node)
    return node
  }

  async leave(node: SkeinNode): Promise<void> {
    this.#nodes.delete(node)
    await node.stop()
  }

  async link(link: Link): Promise<string> {
    this.#links.add(link)
    return link.open()
  }

  async close(): Promise<void> {
    for (const link of this.#links) link.close()
    await Promise.all([...this.#nodes].map((node) => this.leave(node)))
    this.remove()
  }

  /** Takes the folder away, at once. */
  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

/** Resolves once the condition holds. Rejects with what did not come about after `timeoutMs`. */
export async function until(
  what: string,
  condition: () => boolean,
  timeoutMs = 15_000
): Promise<void> {
  const end = performance.now() + timeoutMs
  while (!condition()) {
    if (performance.now() > end) throw new Error(`${what}: not within ${timeoutMs / 1000} s`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
