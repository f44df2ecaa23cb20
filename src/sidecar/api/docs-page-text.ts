const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;'
}

export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character] ?? character)
}

/** Text with the only marks that descriptions have, backquotes. */
export function textHtml(text: string): string {
  return escapeHtml(text).replace(/`([^`]+)`/g, '<code>$1</code>')
}

/** Lines of a description, one code each. */
export function codesHtml(text: string): string {
  return text
    .split('\n\n')
    .map((line) => `<div>${textHtml(line)}</div>`)
    .join('')
}
