import type { Edit } from './laboratory.ts'
import type { Trial } from './trial.ts'

/** A way to break the product, and who must notice. */
export interface Mutant extends Trial {
  readonly name: string
  /** In one sentence. */
  readonly breaks: string
  readonly edits: readonly Edit[]
  readonly checker: string
}
