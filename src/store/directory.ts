import { constants } from 'node:fs'
import { access, mkdir, open, readFile, readdir, rename, rm, stat, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import { MemoryLevel } from 'memory-level'
import { SkeinError } from '../core/errors.ts'
import { MIB } from '../core/limits.ts'
import type { Space } from './health.ts'
import { errorCodes, isCorruption, remedies } from './level.ts'
import type { Level } from './level.ts'
import type { StoreMark, StoreMarker } from './opening.ts'

/** A data directory: what a store needs of it. */
export interface DataDirectory {
  readonly path: string
  readonly openLevel: () => Promise<Level>
  freeSpace(): Promise<Space>
  probeSpace(bytes: number): Promise<string | undefined>
  readonly marker: StoreMarker
}

/**
 * Options of the database, measured with records of 64 KiB, 1.5 GiB in all (two cores, ext4). Records hardly
 * compress: without compression an append takes two thirds of the processor time, 340 instead of 230 MiB/s.
 * A write buffer of 16 MiB brings 400 MiB/s (fewer tables, fewer compactions), more brings nothing; files of
 * 16 MiB keep a store of 4 GiB within a few hundred open files.
 */
const LEVEL_OPTIONS = {
  keyEncoding: 'buffer',
  valueEncoding: 'buffer',
  compression: false,
  writeBufferSize: 16 * MIB,
  maxFileSize: 16 * MIB
} as const

/** Creates the directory where it is missing, mode 0700. Throws ERR_DATA_DIR when it cannot be used. */
export async function openDirectory(path: string): Promise<DataDirectory> {
  try {
    await mkdir(path, { recursive: true, mode: 0o700 })
    if (!(await stat(path)).isDirectory()) throw unusable(path, 'ENOTDIR')
    await access(path, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch (error) {
    if (error instanceof SkeinError) throw error
    throw unusable(path, errorCodes(error)[0] ?? 'unknown', error)
  }
  return {
    path,
    openLevel: () => openClassicLevel(path),
    freeSpace: async () => {
      const { bavail, blocks, bsize } = await statfs(path)
      return { freeBytes: bavail * bsize, totalBytes: blocks * bsize }
    },
    probeSpace: (bytes) => probeSpace(join(path, 'probe'), bytes),
    marker: createMarker(join(path, 'store.json'))
  }
}

/** A database in memory, for nodes without a data directory. */
export function openMemory(): { openLevel(): Promise<Level> } {
  // Kept here, so that a store which closes and reopens it finds what it wrote.
  const level: Level = new MemoryLevel<Buffer, Buffer>({
    keyEncoding: 'buffer',
    valueEncoding: 'buffer',
    storeEncoding: 'buffer'
  })
  return {
    openLevel: async () => {
      await level.open()
      return level
    }
  }
}

/** What a repair did. */
export interface StoreRepair {
  /** Folder of the store. */
  readonly location: string
  /** Files that were damaged or are replaced, kept in the folder `lost` of the store. */
  readonly setAside: readonly string[]
}

/**
 * Puts together what is readable of a damaged store; what is not is left out. Creates nothing. Throws
 * ERR_DATA_DIR_LOCKED while a node uses the store, ERR_DATA_DIR where there is none, ERR_STORE_CORRUPT.
 */
export async function repairStore(dataDir: string): Promise<StoreRepair> {
  const location = join(dataDir, 'store')
  const lost = join(location, 'lost')
  if (!(await exists(location))) {
    throw new SkeinError(
      'ERR_DATA_DIR',
      `there is no store in ${dataDir} that could be repaired; name the data directory of a node`,
      { details: { path: dataDir } }
    )
  }
  await assertUnlocked(dataDir, location)
  const before = new Set(await filesOf(lost))
  try {
    await ClassicLevel.repair(location)
  } catch (error) {
    throw openFailure(dataDir, error)
  }
  return { location, setAside: (await filesOf(lost)).filter((name) => !before.has(name)) }
}

/** A repair takes no lock itself. Opening takes it before it reads anything, and deletes nothing where it fails. */
async function assertUnlocked(path: string, location: string): Promise<void> {
  const level = new ClassicLevel<Buffer, Buffer>(location, {
    ...LEVEL_OPTIONS,
    createIfMissing: false
  })
  try {
    await level.open()
  } catch (error) {
    // Any other failure is what the repair is for.
    if (errorCodes(error).includes('LEVEL_LOCKED')) throw openFailure(path, error)
  }
  await level.close()
}

async function filesOf(path: string): Promise<string[]> {
  return (await exists(path)) ? readdir(path) : []
}

async function openClassicLevel(path: string): Promise<Level> {
  const location = join(path, 'store')
  if ((await lacksRoot(location)) && (await exists(join(path, 'store.json')))) {
    throw corrupt(path, undefined)
  }
  const level = new ClassicLevel<Buffer, Buffer>(location, LEVEL_OPTIONS)
  try {
    await level.open()
  } catch (error) {
    throw openFailure(path, error)
  }
  return level
}

function openFailure(path: string, error: unknown): SkeinError {
  if (errorCodes(error).includes('LEVEL_LOCKED')) {
    return new SkeinError(
      'ERR_DATA_DIR_LOCKED',
      `the data directory ${path} is used by another node; stop that one, or use another directory or name`,
      { cause: error, details: { path } }
    )
  }
  if (isCorruption(error)) return corrupt(path, error)
  return new SkeinError(
    'ERR_DATA_DIR',
    `the store in ${path} cannot be opened: ${text(error)}; check its owner, its mode and the disk`,
    { cause: error, details: { path } }
  )
}

function corrupt(path: string, cause: unknown): SkeinError {
  const why = cause === undefined ? 'its root files are missing' : text(cause)
  return new SkeinError(
    'ERR_STORE_CORRUPT',
    `the store in ${path} is damaged: ${why}; ${remedies(path)}`,
    { cause, details: { path } }
  )
}

function text(error: unknown): string {
  const cause = error instanceof Error ? (error.cause ?? error) : error
  return cause instanceof Error ? cause.message : String(cause)
}

function unusable(path: string, errno: string, cause?: unknown): SkeinError {
  return new SkeinError(
    'ERR_DATA_DIR',
    `the data directory ${path} cannot be used (${errno}); give a directory that this user can read and write`,
    { cause, details: { path, errno } }
  )
}

/**
 * Is CURRENT, or the manifest it names, missing? Without the first LevelDB would begin an empty database and delete
 * the tables of the old one; without the second it speaks of an I/O error.
 */
async function lacksRoot(location: string): Promise<boolean> {
  if (!(await exists(location))) return false
  const current = join(location, 'CURRENT')
  if (!(await exists(current))) return true
  const name = (await readFile(current, 'utf8')).trimEnd()
  return !/^MANIFEST-\d+$/.test(name) || !(await exists(join(location, name)))
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path)
    return true
  } catch (error) {
    if (errorCodes(error).includes('ENOENT')) return false
    throw error
  }
}

/** Writes a file and takes it away again; the system's error code when that fails. */
async function probeSpace(path: string, bytes: number): Promise<string | undefined> {
  try {
    const file = await open(path, 'w', 0o600)
    try {
      await file.write(Buffer.alloc(bytes))
      await file.sync()
    } finally {
      await file.close()
    }
    return undefined
  } catch (error) {
    return errorCodes(error)[0] ?? 'unknown'
  } finally {
    await rm(path, { force: true })
  }
}

function createMarker(path: string): StoreMarker {
  return {
    path,
    async load() {
      if (!(await exists(path))) return undefined
      const mark = parseMark(await readFile(path, 'utf8'))
      if (mark !== undefined) return mark
      throw new SkeinError(
        'ERR_STORE_CORRUPT',
        `${path} is damaged; delete it if the store beside it is the right one`,
        { details: { path } }
      )
    },
    async save(mark) {
      const draft = `${path}.new`
      const file = await open(draft, 'w', 0o600)
      try {
        await file.writeFile(`${JSON.stringify(mark)}\n`)
        await file.sync()
      } finally {
        await file.close()
      }
      await rename(draft, path)
    }
  }
}

function parseMark(json: string): StoreMark | undefined {
  try {
    const { epoch, formatVersion } = JSON.parse(json) as Partial<StoreMark>
    if (typeof epoch === 'string' && typeof formatVersion === 'number')
      return { epoch, formatVersion }
    return undefined
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}
