import { SkeinError } from '../core/errors.ts'
import { isAlive, knownDataDirs, readApiFile } from './data-home.ts'
import { usageError } from './units.ts'

/** Options by which a command says which node it means. */
export interface NodeChoice {
  readonly dataDir?: string | undefined
  readonly mesh?: string | undefined
  readonly name?: string | undefined
  readonly api?: string | undefined
}

/** Where a node's HTTP interface is, and what opens it. */
export interface ApiTarget {
  readonly url: string
  readonly token: string | undefined
}

/** A running node of this user. */
export interface RunningNode extends ApiTarget {
  readonly dataDir: string
  readonly pid: number
}

const START_HINT = 'start one with: skein start'

/** Nodes whose data dir is in the default place and whose process lives. */
export async function runningNodes(
  filter: { mesh?: string | undefined; name?: string | undefined },
  env: NodeJS.ProcessEnv = process.env
): Promise<RunningNode[]> {
  const nodes: RunningNode[] = []
  for (const dataDir of await knownDataDirs(filter, env)) {
    const file = await readApiFile(dataDir)
    if (file === undefined || !isAlive(file.pid)) continue
    nodes.push({ dataDir, url: file.url, token: file.token ?? undefined, pid: file.pid })
  }
  return nodes
}

async function nodeIn(dataDir: string): Promise<ApiTarget> {
  const file = await readApiFile(dataDir)
  if (file === undefined) {
    throw new SkeinError(
      'ERR_NO_NODE',
      `No node with an HTTP interface runs on ${dataDir}; start one with: skein start --data-dir ${dataDir}`
    )
  }
  if (!isAlive(file.pid)) {
    throw new SkeinError(
      'ERR_NO_NODE',
      `The node on ${dataDir} is gone (process ${file.pid} does not live); start it with: skein start --data-dir ${dataDir}`
    )
  }
  return { url: file.url, token: file.token ?? undefined }
}

function targetOf(api: string, env: NodeJS.ProcessEnv): ApiTarget {
  const url = URL.canParse(api) ? new URL(api) : undefined
  if (url === undefined || url.protocol !== 'http:') {
    throw usageError('--api', `'${api}' is not a URL like http://127.0.0.1:7400`)
  }
  return { url: url.origin, token: env['SKEIN_TOKEN'] }
}

/**
 * The node a command is meant for: by URL, by data dir, by mesh and name, or the only one running. Rejects with
 * ERR_NO_NODE (exit code 3) or ERR_MANY_NODES (2).
 */
export async function locateNode(
  choice: NodeChoice,
  env: NodeJS.ProcessEnv = process.env
): Promise<ApiTarget> {
  if (choice.api !== undefined) return targetOf(choice.api, env)
  if (choice.dataDir !== undefined) return nodeIn(choice.dataDir)
  const nodes = await runningNodes(choice, env)
  const [node] = nodes
  if (nodes.length > 1) {
    const list = nodes.map(({ dataDir, url }) => `--data-dir ${dataDir} (${url})`)
    throw new SkeinError(
      'ERR_MANY_NODES',
      `${nodes.length} nodes are running; say which one: ${list.join(', ')}`,
      { details: { nodes: list } }
    )
  }
  if (node !== undefined) return node
  const wanted = [
    choice.mesh === undefined ? '' : ` of mesh '${choice.mesh}'`,
    choice.name === undefined ? '' : ` named '${choice.name}'`
  ].join('')
  throw new SkeinError('ERR_NO_NODE', `No running node${wanted} was found; ${START_HINT}`)
}
