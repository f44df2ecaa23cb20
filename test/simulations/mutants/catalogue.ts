import { DELIVERY_MUTANTS } from './delivery-mutants.ts'
import { INBOX_MUTANTS } from './inbox-mutants.ts'
import type { Mutant } from './mutant.ts'
import { REPLICATION_MUTANTS } from './replication-mutants.ts'
import { STORAGE_MUTANTS } from './storage-mutants.ts'

export const MUTANTS: readonly Mutant[] = [
  ...REPLICATION_MUTANTS,
  ...DELIVERY_MUTANTS,
  ...INBOX_MUTANTS,
  ...STORAGE_MUTANTS
]
