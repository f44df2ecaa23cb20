import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

/** The folder whose node_modules holds the competitors' packages: SKEIN_BENCH_PEERS, or bench/peers. */
export function peersFolder(bench: URL): string {
  return process.env['SKEIN_BENCH_PEERS'] ?? fileURLToPath(new URL('peers', bench))
}

export function hasPackage(peersDir: string, name: string): boolean {
  return existsSync(join(peersDir, 'node_modules', name, 'package.json'))
}

/**
 * Imports a competitor's package from its own folder. The second argument of `import.meta.resolve` needs
 * --experimental-import-meta-resolve, which the workers of competitors are started with.
 */
export async function importPeer<T>(peersDir: string, name: string): Promise<T> {
  const parent = pathToFileURL(join(peersDir, 'package.json'))
  return (await import(import.meta.resolve(name, parent))) as T
}
