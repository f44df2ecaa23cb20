import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Page } from 'playwright-core'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { silentLogger } from '../../src/core/logger.ts'
import type { SkeinNode } from '../../src/index.ts'
import { type ServeOptions, type ServedNode, serve } from '../../src/sidecar/index.ts'
import { tcpNode } from '../fixtures/tcp-node.ts'
import { eventually } from '../processes/skein-process.ts'
import { useChromium } from './chromium.ts'

vi.setConfig({ testTimeout: 120_000 })

const open = useChromium()

async function folder(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'skein-dashboard-'))
  onTestFinished(() => rm(path, { recursive: true, force: true }))
  return path
}

async function doorsOf(node: SkeinNode, options: ServeOptions = {}): Promise<ServedNode> {
  const doors = await serve(node, { http: '127.0.0.1:0', logger: silentLogger, ...options })
  onTestFinished(() => doors.stop())
  return doors
}

/** What the page must never do: talk to anybody else, or complain. */
function watch(page: Page): { readonly urls: string[]; readonly complaints: string[] } {
  const seen = { urls: [] as string[], complaints: [] as string[] }
  page.on('request', (request) => seen.urls.push(request.url()))
  page.on('websocket', (socket) => seen.urls.push(socket.url()))
  page.on('pageerror', (error) => seen.complaints.push(error.message))
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') {
      seen.complaints.push(message.text())
    }
  })
  return seen
}

/** Are pictures for the documentation asked for? They take a larger mesh, and a minute. */
const isPictured = process.env['SKEIN_SCREENSHOTS'] === '1'

async function picture(page: Page, name: string): Promise<void> {
  if (!isPictured) return
  const path = fileURLToPath(new URL(`../../docs/images/dashboard-${name}.png`, import.meta.url))
  await page.screenshot({ path, fullPage: true })
}

const pairsOf = (count: number): number => (count * (count - 1)) / 2

const widthOf = (page: Page): Promise<number> =>
  page.evaluate<number>('document.documentElement.scrollWidth')

const attention = (page: Page, text: string) => page.locator('#attention').getByText(text).waitFor()

/** What comes in, a minute of it for pictures. */
async function traffic(node: SkeinNode): Promise<void> {
  for (let step = 0; step < (isPictured ? 200 : 1); step++) {
    for (let id = 0; id < 6 + 5 * Math.sin(step / 8) + 3 * Math.random(); id++) {
      await node.publish('orders/created', { id: step * 20 + id, total: 10 * id })
      if (id % 3 === 0) await node.publish('jobs/invoice', { id }, { key: `customer-${id}` })
    }
    if (isPictured) await new Promise((resolve) => setTimeout(resolve, 200))
  }
}

/** Nodes with something to look at, and two messages that one of them cannot handle yet. */
async function shop() {
  const [own, dataDir] = [await folder(), await folder()]
  const anna = await tcpNode({ name: 'anna', mesh: 'shop', dataDir: own })
  const at = { mesh: 'shop', join: [...anna.status().addresses] }
  const [ben, cleo, ...more] = await Promise.all([
    tcpNode({ ...at, name: 'ben', dataDir }),
    tcpNode({ ...at, name: 'cleo' }),
    ...(isPictured ? ['dora', 'emil'] : []).map((name) => tcpNode({ ...at, name }))
  ])
  const billing = ben.subscribe('orders/#', { durable: 'billing' })
  cleo.reply('price', () => 7)
  const workers = [anna, ...more].map((node) => {
    const worker = node.subscribe('jobs/#', { group: 'workers' })
    worker.onMessage(() => undefined)
    return worker.ready
  })
  const state = { isMended: false, audited: [] as string[] }
  const audit = anna.subscribe('orders/#', { durable: 'audit', maxDeliveries: 1 })
  audit.onMessage((message) => {
    if (message.topic.endsWith('/refused') && !state.isMended) throw new Error('no customer 4711')
    state.audited.push(message.topic)
  })
  await Promise.all([billing.ready, audit.ready, ...workers])
  await eventually(
    () => anna.peers().filter(({ name }) => name !== undefined).length === 2 + more.length
  )
  return { anna, ben, cleo, state, size: 3 + more.length }
}

describe('dashboard: in a browser', () => {
  it('shows what is wrong, publishes, follows and redrives, with the keyboard alone', async () => {
    const { anna, ben, cleo, size, state } = await shop()
    const doors = await doorsOf(anna)
    const page = await open({ viewport: { width: 1280, height: 900 }, colorScheme: 'dark' })
    const { complaints, urls } = watch(page)
    await page.goto(`${doors.url}/#token=${doors.token ?? ''}`)
    // The token is out of the address before anything else.
    expect(page.url()).toBe(`${doors.url}/`)
    await page.getByText(`${size} nodes, ${pairsOf(size)} connections`).waitFor()
    await page.getByRole('cell', { name: /^ben, cleo/ }).waitFor()
    await page.getByRole('row', { name: /^cleo up .*price/ }).waitFor()

    // Live messages, and a message from the page; nothing is clicked.
    await page.getByLabel('Topic filter').focus()
    await page.keyboard.type('orders/#')
    await page.keyboard.press('Enter')
    await page.getByText('Nothing yet at orders/#').waitFor()
    const heard = cleo.subscribe('orders/#')
    await eventually(() => anna.topics().some(({ members }) => members > 1))
    await page.getByLabel('Topic', { exact: true }).focus()
    await page.keyboard.type('orders/created')
    await page.keyboard.press('Tab')
    await page.keyboard.type('Zoë 3')
    await page.keyboard.press('Tab')
    await page.keyboard.type('{"id": 7}')
    await page.keyboard.press('Control+Enter')
    await page.getByText('Stored, with sequence 1.').waitFor()
    for await (const message of heard) {
      expect([message.topic, message.key, message.json()]).toEqual([
        'orders/created',
        'Zoë 3',
        { id: 7 }
      ])
      break
    }
    const messages = page.getByRole('log', { name: 'Live messages' })
    await messages.getByText('{"id":7}').first().waitFor()

    // A node goes down, and its subscriber falls behind.
    await traffic(anna)
    await ben.stop()
    for (let id = 0; id < 41; id++) await anna.publish('orders/created', { id, total: id * 3 })
    await anna.publish('orders/refused', { id: 41 })
    await anna.send(ben.peerId, 'alerts', 'disk almost full')
    await attention(page, 'ben is down')
    await attention(page, '1 dead letter')
    await page.getByRole('row', { name: /^billing at ben orders\/# down .*\d/ }).waitFor()
    await page.getByText(`${size} nodes, ${pairsOf(size - 1)} connection`).waitFor()
    await page.getByRole('row', { name: /^ben alerts/ }).waitFor()
    expect(await page.title()).toMatch(/^\(\d\) anna/)
    await picture(page, 'dark')
    await page.emulateMedia({ colorScheme: 'light' })
    await picture(page, 'light')
    await page.setViewportSize({ width: 360, height: 740 })
    expect(await widthOf(page)).toBeLessThanOrEqual(360)
    await picture(page, 'phone')

    // What failed is offered again, to who can handle it now.
    state.isMended = true
    await page.getByRole('button', { name: 'Redrive orders/refused' }).focus()
    await page.keyboard.press('Enter')
    await page.getByText('1 offered again to audit.').waitFor()
    await eventually(() => state.audited.includes('orders/refused'))
    await page.getByText('A message that a durable subscription handed over too often').waitFor()

    expect(complaints).toEqual([])
    expect(urls.filter((url) => !url.startsWith(`${doors.url}/`))).toEqual([])
    expect(urls.filter((url) => url.includes(doors.token ?? ''))).toEqual([])
  })

  it('every control is reached by Tab, and shows that it is', async () => {
    const node = await tcpNode({ name: 'lone' })
    const doors = await doorsOf(node)
    const page = await open()
    await page.goto(`${doors.url}/#token=${doors.token ?? ''}`)
    await attention(page, 'No other node was met yet')
    const reached = new Set<string>()
    for (let step = 0; step < 40; step++) {
      await page.keyboard.press('Tab')
      const [name, outline] = await page.evaluate<[string, string]>(
        `[
          document.activeElement === document.body ? '' : document.activeElement.innerText || document.activeElement.id,
          getComputedStyle(document.activeElement).outlineStyle
        ]`
      )
      if (name === '') break
      reached.add(name)
      expect(outline).toBe('solid')
    }
    expect([...reached]).toEqual(
      expect.arrayContaining(['Forget token', 'tail-filter', 'Watch', 'publish-topic', 'Publish'])
    )
  })

  it('asks for the token, refuses a wrong one in plain words, and forgets it', async () => {
    const doors = await doorsOf(await tcpNode({ name: 'lone' }))
    const page = await open({ viewport: { width: 360, height: 740 } })
    await page.goto(`${doors.url}/`)
    await page.getByLabel('API token').fill('wrong')
    await page.keyboard.press('Enter')
    await page.getByText('does not take this token').waitFor()
    expect(await widthOf(page)).toBeLessThanOrEqual(360)
    await page.getByLabel('API token').fill(doors.token ?? '')
    await page.keyboard.press('Enter')
    await attention(page, 'No other node was met yet')
    // Another visit in this tab has it still.
    await page.reload()
    await attention(page, 'No other node was met yet')
    await page.getByRole('button', { name: 'Forget token' }).click()
    await page.getByLabel('API token').waitFor()
    expect(await page.evaluate<number>('sessionStorage.length + localStorage.length')).toBe(0)
    expect(await page.evaluate<string>('document.cookie')).toBe('')
  })

  it('says that the node stopped, and goes on by itself when it is back', async () => {
    const node = await tcpNode({ name: 'lone' })
    const first = await doorsOf(node, { token: 'the-same-token' })
    const page = await open()
    await page.clock.install()
    await page.goto(`${first.url}/#token=the-same-token`)
    await page.getByText('Live', { exact: true }).waitFor()
    await first.stop()
    await page.clock.runFor(2500)
    await attention(page, 'The node does not answer')
    await doorsOf(node, { http: new URL(first.url).host, token: 'the-same-token' })
    await page.clock.runFor(2500)
    await page.getByText('Live', { exact: true }).waitFor()
    expect(await page.locator('#attention').innerText()).not.toContain('does not answer')
  })

  it('asks nothing and follows nothing while nobody looks', async () => {
    const node = await tcpNode({ name: 'lone' })
    const doors = await doorsOf(node)
    const page = await open()
    await page.clock.install()
    const { urls } = watch(page)
    await page.goto(`${doors.url}/#token=${doors.token ?? ''}`)
    await page.getByText('Live', { exact: true }).waitFor()
    const look = (hidden: boolean): Promise<unknown> =>
      page.evaluate(
        `Object.defineProperty(document, 'hidden', { value: ${hidden}, configurable: true }); document.dispatchEvent(new Event('visibilitychange'))`
      )
    await page.getByLabel('Topic filter').fill('orders/#')
    await page.keyboard.press('Enter')
    await eventually(() => node.status().subscriptions === 1)
    await look(true)
    await eventually(() => node.status().subscriptions === 0)
    const asked = urls.length
    await page.clock.runFor(60_000)
    expect(urls).toHaveLength(asked)
    const again = page.waitForResponse(/v1\/status/)
    await look(false)
    await again
    await eventually(() => node.status().subscriptions === 1)
    await page.getByText('Not watched while the page was hidden').waitFor()
  })
})
