const QUOTE = 0x22
const BACKSLASH = 0x5c

const isOpening = (code: number): boolean => code === 0x5b || code === 0x7b
const isClosing = (code: number): boolean => code === 0x5d || code === 0x7d
/** White space, comma or colon: nothing by itself between the parts of valid JSON. */
const isBetween = (code: number): boolean => code <= 0x20 || code === 0x2c || code === 0x3a

/**
 * The texts of an object's members, by name: what `JSON.parse` makes of a number loses how it was written. `text` is an
 * object that `JSON.parse` accepts; of two members of one name the last one counts, as there.
 */
export function jsonMembers(text: string): ReadonlyMap<string, string> {
  const parts = partsOf(text)
  const members = new Map<string, string>()
  for (let index = 0; index < parts.length; index += 2) {
    members.set(JSON.parse(parts[index] as string) as string, parts[index + 1] as string)
  }
  return members
}

/** The texts of an array's elements. `text` is an array that `JSON.parse` accepts. */
export function jsonElements(text: string): readonly string[] {
  return partsOf(text)
}

/** Names and values at the top level of an object or array. */
function partsOf(text: string): string[] {
  const parts: string[] = []
  let at = text.search(/[[{]/) + 1
  for (;;) {
    while (isBetween(text.charCodeAt(at))) at++
    if (isClosing(text.charCodeAt(at))) return parts
    const end = endOfValue(text, at)
    parts.push(text.slice(at, end))
    at = end
  }
}

function endOfValue(text: string, start: number): number {
  let at = start
  let depth = 0
  do {
    const code = text.charCodeAt(at)
    if (code === QUOTE) at = endOfString(text, at)
    else {
      if (isOpening(code)) depth++
      else if (isClosing(code)) depth--
      else if (depth === 0) return endOfWord(text, at)
      at++
    }
  } while (depth > 0)
  return at
}

function endOfString(text: string, start: number): number {
  let quote = start
  for (;;) {
    quote = text.indexOf('"', quote + 1)
    let before = quote - 1
    while (text.charCodeAt(before) === BACKSLASH) before--
    // Backslashes escape each other in pairs; one that is left escapes the quote.
    if ((quote - before) % 2 === 1) return quote + 1
  }
}

function endOfWord(text: string, start: number): number {
  let at = start
  for (;;) {
    const code = text.charCodeAt(at)
    if (isBetween(code) || isClosing(code)) return at
    at++
  }
}
