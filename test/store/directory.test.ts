import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdtemp, open, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { SequenceRange } from '../../src/store/contract.ts'
import { openDirectory, repairStore } from '../../src/store/directory.ts'
import { append, Author, directoryDisk, journalOf, openStore } from './store-fixtures.ts'

describe('data directory', () => {
  let disk: Awaited<ReturnType<typeof directoryDisk>>
  beforeEach(async () => {
    disk = await directoryDisk()
  })
  afterEach(() => disk.remove())

  it('directory: is created for its owner only, and what cannot be one is refused', async () => {
    const path = join(disk.path, 'a', 'b')
    await openDirectory(path)
    expect((await stat(path)).mode & 0o777).toBe(0o700)
    const file = join(disk.path, 'file')
    await writeFile(file, '')
    for (const wrong of [file, join(file, 'below')]) {
      await expect(openDirectory(wrong)).rejects.toMatchObject({
        code: 'ERR_DATA_DIR',
        details: { path: wrong }
      })
    }
  })

  it('lock: a second store of one directory is refused, whoever holds the first', async () => {
    const store = await openStore(disk)
    await expect(openStore(disk)).rejects.toMatchObject({ code: 'ERR_DATA_DIR_LOCKED' })
    await store.stop()
    const script = `import { ClassicLevel } from 'classic-level'
      const level = new ClassicLevel(${JSON.stringify(join(disk.path, 'store'))})
      await level.open(); console.log('open'); process.stdin.resume()`
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      cwd: process.cwd(),
      stdio: ['pipe', 'pipe', 'inherit']
    })
    await once(child.stdout, 'data')
    await expect(openStore(disk)).rejects.toMatchObject({ code: 'ERR_DATA_DIR_LOCKED' })
    child.kill('SIGKILL')
    await once(child, 'exit')
    const again = await openStore(disk)
    await again.stop()
  })

  it('identity: an emptied or exchanged store is never taken for a new one', async () => {
    const store = await openStore(disk)
    await append(store, new Author().many(3), { sync: true })
    await store.stop()
    await rm(join(disk.path, 'store', 'CURRENT'))
    const before = await readdir(join(disk.path, 'store'))
    await expect(openStore(disk)).rejects.toMatchObject({ code: 'ERR_STORE_CORRUPT' })
    expect(await readdir(join(disk.path, 'store'))).toEqual(before)
    await rm(join(disk.path, 'store'), { recursive: true })
    await expect(openStore(disk)).rejects.toMatchObject({ code: 'ERR_STORE_CORRUPT' })
    const mark = join(disk.path, 'store.json')
    await writeFile(mark, '{"epoch":"0000000000000001","formatVersion":99}')
    await expect(openStore(disk)).rejects.toMatchObject({ code: 'ERR_STORE_VERSION' })
    await writeFile(mark, 'x')
    await expect(openStore(disk)).rejects.toMatchObject({ code: 'ERR_STORE_CORRUPT' })
    await rm(mark)
    await rm(join(disk.path, 'store'), { recursive: true, force: true })
    const fresh = await openStore(disk)
    expect(JSON.parse(await readFile(mark, 'utf8'))).toEqual({
      epoch: fresh.epoch,
      formatVersion: 1
    })
    await fresh.stop()
  })

  it('kill: a copy of the files taken while the store works opens with everything that was confirmed', async () => {
    const store = await openStore(disk)
    const author = new Author()
    for (let round = 0; round < 20; round++)
      await append(store, author.many(5), { sync: round % 5 === 4 })
    const copy = await mkdtemp(join(tmpdir(), 'skein-copy-'))
    await cp(disk.path, copy, { recursive: true })
    const killed = await openStore({ ...disk, components: () => openDirectory(copy) })
    expect(killed.report).toMatchObject({ clean: false, records: 100, damaged: [] })
    expect(await journalOf(killed)).toHaveLength(100)
    await killed.stop()
    await store.stop()
    await rm(copy, { recursive: true })
  })

  it('torn tail: a log that was cut opens with a prefix, and logs and journal agree', async () => {
    const store = await openStore(disk)
    const author = new Author()
    for (const record of author.many(50)) await append(store, [record])
    const copy = await mkdtemp(join(tmpdir(), 'skein-torn-'))
    for (const cut of [1, 100, 1000, 5000]) {
      await cp(disk.path, copy, { recursive: true })
      const [log] = (await readdir(join(copy, 'store'))).filter((name) => name.endsWith('.log'))
      const file = await open(join(copy, 'store', log as string), 'r+')
      const { size } = await file.stat()
      await file.truncate(size - cut)
      await file.close()
      const torn = await openStore({ ...disk, components: () => openDirectory(copy) })
      const head = torn.log(author.ref)?.head ?? 0
      expect(head).toBeLessThan(50)
      expect(head).toBeGreaterThan(30)
      expect(torn.report.damaged).toEqual([])
      expect(await journalOf(torn)).toHaveLength(head)
      await torn.stop()
      await rm(copy, { recursive: true })
    }
    await store.stop()
  })

  it('damaged blocks: nothing is lost silently, in the log or in tables', async () => {
    const store = await openStore(disk)
    const author = new Author()
    const records = Array.from({ length: 120 }, (_, index) =>
      author.write([{ payload: Buffer.alloc(20_000, index) }])
    )
    await append(store, records)
    await store.stop()
    // Opening turns the log into a table.
    await (await openStore(disk)).stop()
    for (const place of [0.3, 0.5, 0.9]) {
      const copy = await mkdtemp(join(tmpdir(), 'skein-damage-'))
      await cp(disk.path, copy, { recursive: true })
      const names = await readdir(join(copy, 'store'))
      const sizes = await Promise.all(
        names.map(async (name) => (await stat(join(copy, 'store', name))).size)
      )
      const largest = names[sizes.indexOf(Math.max(...sizes))] as string
      const file = await open(join(copy, 'store', largest), 'r+')
      await file.write(Buffer.alloc(64, 0x5a), 0, 64, Math.floor(Math.max(...sizes) * place))
      await file.close()
      const damaged = await openStore({ ...disk, components: () => openDirectory(copy) })
      const found: SequenceRange[] = [...damaged.report.damaged]
      damaged.events.on('damaged', ({ range }) => found.push(range))
      while ((await damaged.scrub(1_000_000)) > 0);
      expect(
        await append(
          damaged,
          records.filter(({ header }) =>
            found.some(({ from, to }) => from <= header.first && header.first <= to)
          )
        )
      ).not.toContain('broken-chain')
      expect(found.length).toBeGreaterThan(0)
      expect(damaged.log(author.ref)).toMatchObject({ head: 120, islands: [] })
      const read = await damaged.readLog(author.ref, 1, { maxBytes: 1e9 })
      expect(read.map(({ head }) => head.header.first)).toEqual(
        records.map(({ header }) => header.first)
      )
      await damaged.stop()
      await rm(copy, { recursive: true })
    }
  })

  it('repair: brings back a store whose root files are gone', async () => {
    const store = await openStore(disk)
    await append(store, new Author().many(20), { sync: true })
    await store.stop()
    await rm(join(disk.path, 'store', 'CURRENT'))
    await repairStore(disk.path)
    const repaired = await openStore(disk)
    expect(await journalOf(repaired)).toHaveLength(20)
    await repaired.stop()
  })
})
