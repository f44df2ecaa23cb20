import { readFileSync } from 'node:fs'

/** A page of docs/. */
export function pageOf(name: string): string {
  return readFileSync(new URL(`../../docs/${name}`, import.meta.url), 'utf8')
}

/** The part of a page from its heading to the next one of the same or a higher level. */
export function sectionOf(page: string, heading: string): string {
  const start = page.indexOf(`\n${heading}\n`)
  if (start === -1) throw new Error(`there is no heading '${heading}'`)
  const level = /^#+/.exec(heading)?.[0].length ?? 1
  const rest = page.slice(start + heading.length + 2)
  const end = rest.search(new RegExp(`^#{1,${level}} `, 'm'))
  return end === -1 ? rest : rest.slice(0, end)
}

/** Cells of every row of the tables in `text`, without headings. `\|` stands for a bar inside a cell. */
export function rowsOf(text: string): string[][] {
  const lines = text.split('\n')
  const isRow = (line: string | undefined): line is string => line?.startsWith('| ') ?? false
  return lines
    .filter((line, index) => isRow(line) && !(lines[index + 1]?.startsWith('|---') ?? false))
    .map((line) => line.split(/(?<!\\)\|/).slice(1, -1))
    .map((cells) => cells.map((cell) => cell.trim()))
}

/** What stands in backquotes in `text`. */
export function codesOf(text: string): string[] {
  return [...text.matchAll(/`([^`]+)`/g)].map((match) => match[1] as string)
}
