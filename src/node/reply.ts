import type { Data } from './contract.ts'

/** An answer with headers or a content type of its own. */
export class Reply {
  readonly data: Data
  readonly contentType: string | undefined
  readonly headers: Readonly<Record<string, string>> | undefined

  /** `contentType` by default as for `publish`: text/plain for strings, application/json for JSON values. */
  constructor(
    data: Data,
    options: {
      readonly contentType?: string | undefined
      readonly headers?: Readonly<Record<string, string>> | undefined
    } = {}
  ) {
    this.data = data
    this.contentType = options.contentType
    this.headers = options.headers
  }
}
