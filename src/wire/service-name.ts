import { LIMITS } from '../core/limits.ts'

/** Is it one of Skein's own, which every node answers and none announces? */
export function isBuiltInService(name: string): boolean {
  return name.startsWith('$')
}

/** May a service be called so? 1 to 64 bytes of UTF-8 without '/' and control characters. */
export function isServiceName(name: string): boolean {
  return (
    name !== '' && Buffer.byteLength(name) <= LIMITS.nameBytes && !/[/\p{Cc}\p{Cs}]/u.test(name)
  )
}
