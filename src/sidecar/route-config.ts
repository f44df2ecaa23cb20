/** Who gets an answer: anyone; a page of this node, which has no token yet; who has the token. */
export type RouteAccess = 'anyone' | 'page' | 'token'

/** What the hooks of all routes must know of one. */
export interface RouteConfig {
  /** Default `token`. */
  readonly access?: RouteAccess | undefined
  /** The token may stand in this header, too, as it is. */
  readonly tokenHeader?: string
  /** The answer may be under way, or even end, before the request does. */
  readonly isDuplex?: boolean
  /** It lasts as long as somebody listens: the kind of stream that is counted. */
  readonly stream?: 'events' | 'bytes' | 'websocket'
}
