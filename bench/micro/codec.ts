import { KIB } from '../../src/core/limits.ts'
import { decodeMessages } from '../../src/wire/body.ts'
import { openRecord } from '../../src/wire/sealed-record.ts'
import { Author } from './author.ts'
import { timeOperation } from './timing.ts'

// What the codec costs one thread, with records of 64 KiB.

const SIZES = [128, KIB, 32 * KIB]

console.log('| bytes a message | operation | us a record | us a message |\n|---:|---|---:|---:|')
for (const size of SIZES) {
  const author = new Author(size)
  const record = new Author(size).write()
  const { count } = record.header
  const cases: ReadonlyArray<readonly [string, () => unknown]> = [
    ['pack', () => author.pack()],
    ['pack, hash and sign', () => author.write()],
    ['open: hash, check', () => openRecord(record.bytes, { verify: false })],
    ['open: hash, check, verify', () => openRecord(record.bytes)],
    ['decode messages', () => decodeMessages(record.body, count)]
  ]
  for (const [name, operation] of cases) {
    const us = timeOperation(operation)
    console.log(`| ${size} | ${name} | ${us.toFixed(1)} | ${(us / count).toFixed(3)} |`)
  }
}
