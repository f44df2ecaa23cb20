import { readFile } from 'node:fs/promises'
import { SkeinError } from '../core/errors.ts'
import { usageError } from './units.ts'

/** One option of `start`, wherever it is said: flag, SKEIN_ variable, or key of the configuration file. */
interface OptionSpec {
  readonly kind: 'text' | 'list' | 'switch'
  readonly flag: string
}

/** Every option of `start` by its key in the configuration file. */
const START_OPTIONS = {
  name: { kind: 'text', flag: '--name' },
  mesh: { kind: 'text', flag: '--mesh' },
  dataDir: { kind: 'text', flag: '--data-dir' },
  listen: { kind: 'list', flag: '--listen' },
  announce: { kind: 'list', flag: '--announce' },
  join: { kind: 'list', flag: '--join' },
  noMdns: { kind: 'switch', flag: '--no-mdns' },
  http: { kind: 'text', flag: '--http' },
  mqtt: { kind: 'text', flag: '--mqtt' },
  tokenFile: { kind: 'text', flag: '--token-file' },
  allowHost: { kind: 'list', flag: '--allow-host' },
  allowOrigin: { kind: 'list', flag: '--allow-origin' },
  networkKey: { kind: 'text', flag: '--network-key' },
  keep: { kind: 'list', flag: '--keep' },
  noCustodian: { kind: 'switch', flag: '--no-custodian' },
  insecureApi: { kind: 'switch', flag: '--insecure-api' },
  logLevel: { kind: 'text', flag: '--log-level' },
  verbose: { kind: 'switch', flag: '--verbose' },
  json: { kind: 'switch', flag: '--json' }
} as const satisfies Record<string, OptionSpec>

type StartKey = keyof typeof START_OPTIONS

/** Keys of the configuration file that say in the positive what a flag says in the negative. */
const POSITIVE = ['mdns', 'custodian'] as const

/** `mdns` -> `noMdns`: the key of the option that turns it off. */
export function negativeOf(key: string): string {
  return `no${key.charAt(0).toUpperCase()}${key.slice(1)}`
}

/** Keys of the configuration file that have no flag: they go to the node as they are. */
const FILE_ONLY = ['channels', 'payloadBytes', 'reserveBytes', 'previousNetworkKey'] as const

type ValueOf<Spec extends OptionSpec> = Spec['kind'] extends 'text'
  ? string
  : Spec['kind'] extends 'list'
    ? readonly string[]
    : boolean

/** What was said, by whatever means; what was not is undefined. */
export type StartOptions = {
  readonly [Key in StartKey]: ValueOf<(typeof START_OPTIONS)[Key]> | undefined
} & { readonly fileOnly: Readonly<Record<string, unknown>> }

type Source = Readonly<Record<string, unknown>>

const isOneOf = <Name extends string>(name: string, names: readonly Name[]): name is Name =>
  (names as readonly string[]).includes(name)

const camel = (key: string): string =>
  key.replace(/-([a-z])/g, (_all, char: string) => char.toUpperCase())

/** `dataDir` -> `SKEIN_DATA_DIR` */
export function variableOf(key: string): string {
  return `SKEIN_${key.replace(/[A-Z]/g, (char) => `_${char}`).toUpperCase()}`
}

function switchOf(value: unknown, source: string): boolean {
  if (value === true || value === 'true' || value === '1') return true
  if (value === false || value === 'false' || value === '0' || value === '') return false
  throw usageError(source, `'${String(value)}' is neither true nor false`)
}

function listOf(value: unknown, source: string): readonly string[] {
  const list = typeof value === 'string' ? value.split(',').map((part) => part.trim()) : value
  if (Array.isArray(list) && list.every((part) => typeof part === 'string')) return list
  throw usageError(source, 'is not a list of texts')
}

function valueOf(
  spec: OptionSpec,
  value: unknown,
  source: string
): string | boolean | readonly string[] {
  if (spec.kind === 'switch') return switchOf(value, source)
  if (spec.kind === 'list') return listOf(value, source)
  if (typeof value === 'string' || typeof value === 'number') return String(value)
  throw usageError(source, 'is not a text')
}

async function readConfig(path: string): Promise<Source> {
  let content: unknown
  try {
    // Loaded here, so that the other commands start fast.
    const { parse } = await import('yaml')
    content = parse(await readFile(path, 'utf8'))
  } catch (error) {
    const why = error instanceof Error ? (error.message.split('\n')[0] ?? '') : ''
    throw new SkeinError('ERR_OPTIONS', `--config: ${path} cannot be read: ${why}`, {
      cause: error,
      details: { option: 'config' }
    })
  }
  if (content === null || content === undefined) return {}
  if (typeof content !== 'object' || Array.isArray(content)) {
    throw usageError('--config', `${path} is not a list of options, one 'key: value' a line`)
  }
  const known = [...Object.keys(START_OPTIONS), ...POSITIVE, ...FILE_ONLY]
  const entries = Object.entries(content).map(([key, value]) => [camel(key), value] as const)
  for (const [key] of entries) {
    if (!known.includes(key)) {
      throw usageError(key, `there is no such option in ${path}; there are ${known.join(', ')}`)
    }
  }
  const config = Object.fromEntries(entries) as Record<string, unknown>
  for (const key of POSITIVE) {
    const value = config[key]
    if (value !== undefined) config[negativeOf(key)] = !switchOf(value, key)
  }
  return config
}

/** Flags before environment before file. Rejects with ERR_OPTIONS naming the option. */
export async function resolveStartOptions(
  flags: Source,
  env: NodeJS.ProcessEnv = process.env
): Promise<StartOptions> {
  const path = flags['config'] ?? env['SKEIN_CONFIG']
  const file = typeof path === 'string' && path !== '' ? await readConfig(path) : {}
  const resolved: Record<string, unknown> = {}
  for (const [key, spec] of Object.entries(START_OPTIONS)) {
    const variable = variableOf(key)
    const said =
      flags[key] !== undefined
        ? ([flags[key], spec.flag] as const)
        : env[variable] !== undefined && env[variable] !== ''
          ? ([env[variable], variable] as const)
          : ([file[key], key] as const)
    resolved[key] = said[0] === undefined ? undefined : valueOf(spec, said[0], said[1])
  }
  const fileOnly = Object.entries(file).filter(([key]) => isOneOf(key, FILE_ONLY))
  return { ...resolved, fileOnly: Object.fromEntries(fileOnly) } as StartOptions
}
