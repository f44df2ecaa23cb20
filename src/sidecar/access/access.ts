import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { isIPv4, isIPv6 } from 'node:net'
import { SkeinError } from '../../core/errors.ts'

export interface AccessInit {
  /** Undefined: no token is asked for (loopback only). */
  readonly token: string | undefined
  /** Host names or addresses allowed in the Host header beside the loopback ones, with or without a port. */
  readonly allowHosts: readonly string[]
  /** Origins of web pages that may call, like `https://console.example`. */
  readonly allowOrigins: readonly string[]
}

/**
 * What is asked for. `preflight`: a CORS preflight cannot carry a token. `page`: files without secrets, that a browser
 * may also come to from a link elsewhere, without a token.
 */
export type AccessKind = 'call' | 'preflight' | 'page'

/** Decides who may talk to the HTTP interface. */
export interface Access {
  /** Throws ERR_HOST, ERR_ORIGIN or ERR_TOKEN. */
  check(headers: IncomingHttpHeaders, kind: AccessKind): void
  /** The configured origin of a request, to be named in CORS headers. */
  allowedOrigin(headers: IncomingHttpHeaders): string | undefined
}

/** A Host header, taken apart; a host in brackets is IPv6. */
interface Authority {
  readonly host: string
  readonly port: string | undefined
}

/** Takes `host[:port]` apart structurally: a prefix test would accept `127.evil.example`. */
export function parseAuthority(text: string): Authority | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]+))(?::(\d{1,5}))?$/.exec(text)
  if (match === null) return undefined
  const [, bracketed, plain, port] = match
  if (bracketed !== undefined && !isIPv6(bracketed)) return undefined
  const host = (bracketed ?? plain ?? '').toLowerCase()
  return { host: host.endsWith('.') ? host.slice(0, -1) : host, port }
}

/** Is it `localhost` or an address of the loopback interface? */
export function isLoopback(host: string): boolean {
  if (host === 'localhost' || host === '::1') return true
  return isIPv4(host) && host.startsWith('127.')
}

const digest = (text: string): Buffer => createHash('sha256').update(text).digest()

/** Cross-site requests that browsers send without an Origin (images, scripts, links) say so here. */
const FOREIGN_SITES = new Set(['cross-site', 'same-site'])

/** Somebody follows a link in a window of its own: no other page sees the answer. */
function isNavigation(headers: IncomingHttpHeaders): boolean {
  return (
    headers.origin === undefined &&
    headers['sec-fetch-mode'] === 'navigate' &&
    headers['sec-fetch-dest'] === 'document'
  )
}

export function createAccess(init: AccessInit): Access {
  const hosts = new Set(init.allowHosts.map((host) => host.toLowerCase()))
  const origins = new Set(init.allowOrigins.map((origin) => origin.toLowerCase()))
  const expected = init.token === undefined ? undefined : digest(init.token)

  const checkHost = (header: string | undefined): void => {
    const authority = header === undefined ? undefined : parseAuthority(header)
    if (authority !== undefined) {
      if (isLoopback(authority.host) || hosts.has(authority.host)) return
      if (authority.port !== undefined && hosts.has(`${authority.host}:${authority.port}`)) return
    }
    throw new SkeinError(
      'ERR_HOST',
      'The Host header names neither this machine nor an allowed host; start the node with --allow-host to allow one.'
    )
  }

  const checkOrigin = (headers: IncomingHttpHeaders): void => {
    const origin = headers.origin?.toLowerCase()
    const site = headers['sec-fetch-site']
    const foreign =
      origin === undefined
        ? typeof site === 'string' && FOREIGN_SITES.has(site)
        : !origins.has(origin) && origin !== `http://${headers.host?.toLowerCase()}`
    if (!foreign) return
    throw new SkeinError(
      'ERR_ORIGIN',
      'Web pages of this origin may not call the node; start it with --allow-origin to allow one.'
    )
  }

  const checkToken = (authorization: string | undefined): void => {
    if (expected === undefined) return
    const match = authorization === undefined ? null : /^bearer +(\S+)$/i.exec(authorization)
    if (match !== null && timingSafeEqual(digest(match[1] ?? ''), expected)) return
    throw new SkeinError(
      'ERR_TOKEN',
      `The API token is ${match === null ? 'missing' : 'wrong'}; send 'Authorization: Bearer <token>' with the token of the node's api.json.`
    )
  }

  return {
    check(headers, kind) {
      checkHost(headers.host)
      if (kind !== 'page' || !isNavigation(headers)) checkOrigin(headers)
      if (kind === 'call') checkToken(headers.authorization)
    },
    allowedOrigin(headers) {
      const origin = headers.origin
      return origin !== undefined && origins.has(origin.toLowerCase()) ? origin : undefined
    }
  }
}
