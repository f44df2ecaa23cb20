import { readFileSync } from 'node:fs'
import { LIMITS } from '../../core/limits.ts'

/** Of the files that a process may open, so many are left for the store, for peers and for what else it does. */
const OTHERS = 1024
/** Where the system does not say how many there may be. */
const USUAL = 4096

/** `ulimit -n`. Node.js raises it as far as it may by itself. */
function openFilesLimit(): number {
  try {
    const limits = readFileSync('/proc/self/limits', 'utf8')
    const limit = /^Max open files\s+(\d+|unlimited)/m.exec(limits)?.[1]
    return limit === 'unlimited' ? Number.POSITIVE_INFINITY : Number(limit ?? USUAL)
  } catch {
    // Not Linux.
    return USUAL
  }
}

/** HTTP connections that the process has files for, LIMITS.httpConnections at most. */
export function connectionLimit(files: number = openFilesLimit()): number {
  return Math.min(LIMITS.httpConnections, Math.max(files - OTHERS, Math.floor(files / 2)))
}
