import { writeFile } from 'node:fs/promises'
import inspector from 'node:inspector/promises'

const SAMPLE_EVERY_US = 500

/** CPU profile of what is measured only: neither start nor warm-up is in it. */
export class Profiler {
  #session: inspector.Session | undefined

  async start(): Promise<void> {
    const session = new inspector.Session()
    session.connect()
    await session.post('Profiler.enable')
    await session.post('Profiler.setSamplingInterval', { interval: SAMPLE_EVERY_US })
    await session.post('Profiler.start')
    this.#session = session
  }

  async stop(file: string): Promise<void> {
    if (this.#session === undefined) return
    const { profile } = await this.#session.post('Profiler.stop')
    this.#session.disconnect()
    this.#session = undefined
    await writeFile(file, JSON.stringify(profile))
  }
}
