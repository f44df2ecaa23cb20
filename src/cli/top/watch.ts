import { isSkeinError } from '../../core/errors.ts'
import { type View, frameOf, scrollRoom } from './frame.ts'
import { OUTBOX_PAGE, PAGE_COUNT } from './pages.ts'
import type { Key, Screen } from './screen.ts'
import type { Sample } from './snapshot.ts'

export interface WatchComponents {
  readonly sampler: { take(wantsOutbox: boolean): Promise<Sample> }
  readonly screen: Screen
  /** Ends it. */
  readonly signal: AbortSignal
}

/** Between two looks at the node, ms. */
const INTERVAL_MS = 1000
/** A node that has not answered for so long is said not to, ms. */
const PATIENCE_MS = 3000

/** What a key does to what is seen. */
function pressed(view: View, { name = '' }: Key, page: number, room: number): View {
  const turned = (step: number): View => ({
    ...view,
    page: (view.page + step + PAGE_COUNT) % PAGE_COUNT,
    scroll: 0
  })
  const scrolled = (rows: number): View => ({
    ...view,
    scroll: Math.min(Math.max(0, Math.min(view.scroll, room) + rows), room)
  })
  switch (name) {
    case 'tab':
    case 'right':
      return turned(1)
    case 'left':
      return turned(-1)
    case 'down':
      return scrolled(1)
    case 'up':
      return scrolled(-1)
    case 'pagedown':
      return scrolled(page)
    case 'pageup':
      return scrolled(-page)
    case 'home':
      return scrolled(-room)
    case 'end':
      return scrolled(room)
    default:
      return view
  }
}

/**
 * Shows the node on the screen, until `q`, Ctrl-C or the signal. A node that does not answer is asked again. The
 * terminal is given back whatever happens.
 */
export async function watch(components: WatchComponents, first: Sample): Promise<void> {
  const { sampler, screen, signal } = components
  let view: View = { sample: first, fault: undefined, page: 0, scroll: 0 }
  const draw = (): void => screen.draw(frameOf(view, screen.size))
  let timer: NodeJS.Timeout | undefined
  try {
    await new Promise<void>((resolve, reject) => {
      let askedAt: number | undefined
      const look = async (): Promise<void> => {
        if (askedAt !== undefined) {
          if (performance.now() - askedAt < PATIENCE_MS) return
          view = { ...view, fault: 'The node does not answer' }
          draw()
          return
        }
        askedAt = performance.now()
        try {
          view = {
            ...view,
            sample: await sampler.take(view.page === OUTBOX_PAGE),
            fault: undefined
          }
        } catch (error) {
          if (!isSkeinError(error)) throw error
          view = { ...view, fault: error.message.replace(/\.$/, '') }
        } finally {
          askedAt = undefined
        }
        if (!signal.aborted) draw()
      }
      const again = (): void => void look().catch(reject)
      const onKey = (key: Key): void => {
        if (key.name === 'q' || (key.ctrl === true && key.name === 'c')) {
          resolve()
          return
        }
        const { size } = screen
        const before = view.page
        view = pressed(view, key, Math.max(1, size.rows - 8), scrollRoom(view, size))
        draw()
        if (view.page !== before && view.page === OUTBOX_PAGE) again()
      }
      screen.open({ onKey, onResize: draw })
      if (signal.aborted) resolve()
      else signal.addEventListener('abort', () => resolve(), { once: true })
      draw()
      timer = setInterval(again, INTERVAL_MS)
    })
  } finally {
    clearInterval(timer)
    screen.close()
  }
}
