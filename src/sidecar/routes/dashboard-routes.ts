import { createHash } from 'node:crypto'
import { readFileSync, readdirSync } from 'node:fs'
import { extname } from 'node:path'
import type { FastifyReply } from 'fastify'
import { SkeinError } from '../../core/errors.ts'
import type { Api } from '../api/api.ts'
import { empty, plain, route } from '../api/route.ts'
import { pageHeaders } from '../page-headers.ts'

/** Where the build puts the page: beside this folder in the package, in `dist` for who runs the source. */
const FOLDERS = [
  new URL('../../dashboard/', import.meta.url),
  new URL('../../../dist/dashboard/', import.meta.url)
]

const ASSETS = '/assets/'

const TYPES: Readonly<Record<string, string>> = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml'
}

/** The page runs what this node serves, and talks to this node. */
const SECURITY_HEADERS = pageHeaders({
  'script-src': "'self'",
  'style-src': "'self'",
  'img-src': "'self'",
  'connect-src': "'self'"
})

interface PageFile {
  readonly bytes: Buffer
  readonly type: string
  readonly etag: string
}

// Files of the page hold no secret: they are given without a token, which the page then asks for.
const shared = {
  method: 'GET',
  tag: 'Dashboard',
  access: 'page',
  errors: ['ERR_NOT_FOUND']
} as const

const getPage = route({
  ...shared,
  path: '/',
  operation: 'getDashboard',
  summary: 'The dashboard.',
  answers: { 200: plain('text/html', 'The page.'), 304: empty('As the client has it.') }
})

const getAsset = route({
  ...shared,
  path: '/assets/{file}',
  operation: 'getAsset',
  summary: 'A file of the dashboard.',
  answers: { 200: plain('*/*', 'The file.') }
})

/** Serves the page and its assets from memory; nothing that a request says becomes the name of a file. */
export function addDashboardRoutes(api: Api, folders: readonly URL[] = FOLDERS): void {
  const files = readPage(folders)
  api.add(getPage, ({ reply, request }) => {
    const page = files.get('/')
    if (page === undefined) {
      throw new SkeinError(
        'ERR_NOT_FOUND',
        'The dashboard is not built here; build it with: npm run build.'
      )
    }
    reply.header('cache-control', 'no-cache').header('etag', page.etag)
    if (request.headers['if-none-match'] === page.etag) {
      return reply.headers(SECURITY_HEADERS).code(304).send()
    }
    return sendFile(reply, page)
  })
  api.add(getAsset, ({ path, reply }) => {
    const file = files.get(ASSETS + path.file)
    if (file === undefined) throw new SkeinError('ERR_NOT_FOUND', `There is no file ${path.file}.`)
    // Its name has its digest: another file has another name.
    return sendFile(reply.header('cache-control', 'public, max-age=31536000, immutable'), file)
  })
}

function sendFile(reply: FastifyReply, { bytes, type }: PageFile): FastifyReply {
  return reply.headers(SECURITY_HEADERS).type(type).send(bytes)
}

/** The files of the first folder that is there, by path; empty where none is. */
function readPage(folders: readonly URL[]): ReadonlyMap<string, PageFile> {
  const files = new Map<string, PageFile>()
  for (const folder of folders) {
    const names = namesIn(new URL('.' + ASSETS, folder))
    if (names === undefined) continue
    files.set('/', readPageFile(new URL('index.html', folder)))
    for (const name of names) {
      files.set(ASSETS + name, readPageFile(new URL('.' + ASSETS + name, folder)))
    }
    break
  }
  return files
}

function readPageFile(url: URL): PageFile {
  const bytes = readFileSync(url)
  return {
    bytes,
    type: TYPES[extname(url.pathname)] ?? 'application/octet-stream',
    etag: `"${createHash('sha256').update(bytes).digest('base64url').slice(0, 22)}"`
  }
}

/** Undefined where there is no such folder. */
function namesIn(folder: URL): string[] | undefined {
  try {
    return readdirSync(folder)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}
