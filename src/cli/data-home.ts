import { randomBytes } from 'node:crypto'
import { mkdir, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { homedir, platform } from 'node:os'
import { join } from 'node:path'
import { SkeinError } from '../core/errors.ts'

/** How commands reach a running node: `<dataDir>/api.json`, mode 0600. */
export interface ApiFile {
  readonly url: string
  /** `host:port` of the MQTT interface; null or left out: there is none. */
  readonly mqtt?: string | null
  /** Null: the node asks for none. */
  readonly token: string | null
  readonly pid: number
}

/** By hand: every command reads the file, and loading zod for it would cost each a fifth of its time. */
function apiFileOf(value: unknown): ApiFile {
  const { url, mqtt = null, token, pid } = Object(value) as Readonly<Record<string, unknown>>
  const isComplete =
    typeof url === 'string' &&
    (mqtt === null || typeof mqtt === 'string') &&
    (token === null || typeof token === 'string') &&
    typeof pid === 'number' &&
    Number.isSafeInteger(pid) &&
    pid > 0
  if (isComplete) return { url, mqtt, token, pid }
  throw new TypeError('url, token and pid are not all there')
}

const API_FILE = 'api.json'

/** Where user data belongs on this system. */
export function userDataHome(env: NodeJS.ProcessEnv = process.env): string {
  if (env['XDG_DATA_HOME']) return env['XDG_DATA_HOME']
  if (platform() === 'darwin') return join(homedir(), 'Library', 'Application Support')
  if (platform() === 'win32') return env['LOCALAPPDATA'] ?? join(homedir(), 'AppData', 'Local')
  return join(homedir(), '.local', 'share')
}

/** The folder under which nodes without `--data-dir` keep their data. */
function skeinHome(env: NodeJS.ProcessEnv = process.env): string {
  return join(userDataHome(env), 'skein')
}

/** The data dir of a node that was not given one. */
export function defaultDataDir(
  mesh: string,
  name: string | undefined,
  env: NodeJS.ProcessEnv = process.env
): string {
  return env['STATE_DIRECTORY'] || join(skeinHome(env), mesh, name ?? 'default')
}

/** Data dirs of nodes, running or not, in the default place. */
export async function knownDataDirs(
  filter: { mesh?: string | undefined; name?: string | undefined },
  env: NodeJS.ProcessEnv = process.env
): Promise<string[]> {
  const root = skeinHome(env)
  const meshes = filter.mesh === undefined ? await foldersOf(root) : [filter.mesh]
  const dirs: string[] = []
  for (const mesh of meshes) {
    const names = filter.name === undefined ? await foldersOf(join(root, mesh)) : [filter.name]
    dirs.push(...names.map((name) => join(root, mesh, name)))
  }
  const service = env['STATE_DIRECTORY']
  if (service && filter.mesh === undefined && filter.name === undefined) dirs.push(service)
  return dirs
}

async function foldersOf(path: string): Promise<string[]> {
  try {
    const entries = await readdir(path, { withFileTypes: true })
    return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw unreadable(path, error)
  }
}

function unreadable(path: string, cause: unknown): SkeinError {
  const { code } = cause as NodeJS.ErrnoException
  return new SkeinError(
    'ERR_DATA_DIR',
    `${path} cannot be read (${code ?? 'malformed'}); run the command as the user of the node`,
    { cause, details: { path } }
  )
}

/** What a data dir says of its running node; undefined when it says nothing. Throws ERR_DATA_DIR. */
export async function readApiFile(dataDir: string): Promise<ApiFile | undefined> {
  const path = join(dataDir, API_FILE)
  try {
    return apiFileOf(JSON.parse(await readFile(path, 'utf8')))
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw unreadable(path, error)
  }
}

/** Replaces the file at once, so that no reader sees half of it. Throws ERR_DATA_DIR. */
export async function writeApiFile(dataDir: string, content: ApiFile): Promise<void> {
  const path = join(dataDir, API_FILE)
  const draft = `${path}.${randomBytes(6).toString('hex')}`
  try {
    await mkdir(dataDir, { recursive: true, mode: 0o700 })
    await writeFile(draft, `${JSON.stringify(content)}\n`, { mode: 0o600, flag: 'wx' })
    await rename(draft, path)
  } catch (error) {
    await rm(draft, { force: true })
    throw new SkeinError(
      'ERR_DATA_DIR',
      `${path} cannot be written (${(error as NodeJS.ErrnoException).code ?? 'unknown'}); choose another --data-dir`,
      { cause: error, details: { path } }
    )
  }
}

/** Takes the file away, unless another process has written its own meanwhile. */
export async function removeApiFile(dataDir: string): Promise<void> {
  const found = await readApiFile(dataDir)
  if (found?.pid === process.pid) await rm(join(dataDir, API_FILE), { force: true })
}

/** Does a process with that id live? */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // It lives and belongs to another user.
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
