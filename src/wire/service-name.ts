import { LIMITS } from '../core/limits.ts'

/** May a service be called so? 1 to 64 bytes of UTF-8 without '/' and control characters. */
export function isServiceName(name: string): boolean {
  return (
    name !== '' && Buffer.byteLength(name) <= LIMITS.nameBytes && !/[/\p{Cc}\p{Cs}]/u.test(name)
  )
}
