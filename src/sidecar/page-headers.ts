/** What no page of a node may do, whatever it is. */
const POLICY: Readonly<Record<string, string>> = {
  'default-src': "'none'",
  'base-uri': "'none'",
  'form-action': "'none'",
  'frame-ancestors': "'none'",
  'require-trusted-types-for': "'script'"
}

/** Headers of a page that may do what `allowed` says, in the words of a content security policy, and is shown by no other. */
export function pageHeaders(allowed: Readonly<Record<string, string>>): Record<string, string> {
  const policy = Object.entries({ ...POLICY, ...allowed })
  return {
    'content-security-policy': policy.map(([what, from]) => `${what} ${from}`).join('; '),
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-resource-policy': 'same-origin',
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff',
    'x-frame-options': 'DENY'
  }
}
