/** One Server-Sent Event. */
export interface ServerEvent {
  readonly event: string
  readonly id: string | undefined
  readonly data: string
}

function parseBlock(block: string): ServerEvent | undefined {
  let event = 'message'
  let id: string | undefined
  let data: string | undefined
  let start = 0
  while (start < block.length) {
    const found = block.indexOf('\n', start)
    const end = found === -1 ? block.length : found
    if (block.startsWith('data: ', start)) {
      const text = block.slice(start + 6, end)
      data = data === undefined ? text : `${data}\n${text}`
    } else if (block.startsWith('event: ', start)) event = block.slice(start + 7, end)
    else if (block.startsWith('id: ', start)) id = block.slice(start + 4, end)
    start = end + 1
  }
  return data === undefined ? undefined : { event, id, data }
}

/** Cuts the text of an event stream into events, however it arrives. Reads what the sidecar writes. */
export class EventParser {
  #rest = ''

  push(text: string): ServerEvent[] {
    const buffer = this.#rest + text
    const events: ServerEvent[] = []
    let start = 0
    for (;;) {
      const end = buffer.indexOf('\n\n', start)
      if (end === -1) break
      const event = parseBlock(buffer.slice(start, end))
      if (event !== undefined) events.push(event)
      start = end + 2
    }
    this.#rest = buffer.slice(start)
    return events
  }
}
