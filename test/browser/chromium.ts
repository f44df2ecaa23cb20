import { existsSync } from 'node:fs'
import { type Browser, type BrowserContextOptions, type Page, chromium } from 'playwright-core'
import { afterAll, beforeAll, beforeEach, onTestFinished } from 'vitest'
import { skipFor } from '../fixtures/needs.ts'

const PROGRAM = '/usr/bin/chromium'
/** Nothing of its own may go out: tests assert where requests go. */
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync'
]

/** One Chromium for the tests of a file; where there is none they are skipped. */
export function useChromium(
  flags: readonly string[] = []
): (options?: BrowserContextOptions) => Promise<Page> {
  let browser: Browser | undefined
  const lack = existsSync(PROGRAM) ? undefined : 'chromium is not installed'
  beforeAll(async () => {
    if (lack !== undefined) return
    browser = await chromium.launch({ executablePath: PROGRAM, args: [...FLAGS, ...flags] })
  })
  afterAll(() => browser?.close())
  beforeEach((context) => skipFor(lack, context))
  return async (options) => {
    if (browser === undefined) throw new Error('Chromium does not run')
    const context = await browser.newContext(options)
    onTestFinished(() => context.close())
    const page = await context.newPage()
    page.setDefaultTimeout(30_000)
    return page
  }
}
