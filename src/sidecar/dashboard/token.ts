const KEY = 'skein.token'

/**
 * The token of this tab: from the address (`#token=`), where nobody shall find it again, or from before. It stays in
 * the tab's session storage, so that it ends with the tab.
 */
export function takeToken(): string | undefined {
  const match = /^#token=(.+)$/.exec(location.hash)
  if (match !== null) {
    history.replaceState(null, '', location.pathname + location.search)
    keepToken(decoded(match[1] ?? ''))
  }
  return sessionStorage.getItem(KEY) ?? undefined
}

export function keepToken(token: string): void {
  sessionStorage.setItem(KEY, token)
}

export function dropToken(): void {
  sessionStorage.removeItem(KEY)
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    // Then it is what was meant literally, and the node judges it.
    return text
  }
}
