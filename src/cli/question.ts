import { ApiClient } from './api-client.ts'
import { locateNode } from './node-locator.ts'
import type { ClientOptions } from './node-options.ts'

/** What JSON makes of a type: dates are text. */
export type Json<Type> = Type extends Date
  ? string
  : Type extends object
    ? { readonly [Key in keyof Type]: Json<Type[Key]> }
    : Type

/** Asks the chosen node one question, with `body` as JSON. */
export async function ask<Result>(
  options: ClientOptions,
  path: string,
  method = 'GET',
  body?: object
): Promise<Result> {
  const client = new ApiClient(await locateNode(options))
  try {
    return await client.json<Result>(method, path, body)
  } finally {
    client.close()
  }
}
