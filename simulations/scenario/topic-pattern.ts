/** Fills in a publisher's topic or key: `{node}` its name, `{n}` the message's number from 1, `{n%K}` n modulo K. */
export function fillTopic(pattern: string, node: string, n: number): string {
  if (!pattern.includes('{')) return pattern
  return pattern
    .replaceAll('{node}', node)
    .replaceAll('{n}', String(n))
    .replace(/\{n%(\d+)\}/g, (_, modulus: string) => String(n % Math.max(1, Number(modulus))))
}
