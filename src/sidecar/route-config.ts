/** What the hooks of all routes must know of one. */
export interface RouteConfig {
  /** The answer may be under way, or even end, before the request does. */
  readonly isDuplex?: boolean
  /** It lasts as long as somebody listens: the kind of stream that is counted. */
  readonly stream?: 'events' | 'bytes'
}
