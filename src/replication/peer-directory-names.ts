import { SkeinError } from '../core/errors.ts'
import { isPeerId } from '../wire/peer-id.ts'

/** A peer with the name it goes by. */
export interface NamedPeer {
  readonly id: string
  readonly name: string | undefined
}

/** Names suggested where one is unknown, and ids listed where one is not enough. */
const CANDIDATES = 5
/** Typing errors that are forgiven when a name is looked for among others. */
const FORGIVEN = 2

/**
 * The id of the one peer that `nameOrId` names; a PeerId names itself, known or not. Throws ERR_PEER_UNKNOWN
 * (`details.candidates`: names that it may have meant) and ERR_PEER_AMBIGUOUS (`details.candidates`: the ids).
 */
export function resolvePeer(nameOrId: string, peers: Iterable<NamedPeer>): string {
  if (isPeerId(nameOrId)) return nameOrId
  const all = [...peers]
  const found = all.filter(({ name }) => name === nameOrId).map(({ id }) => id)
  const [id] = found
  if (id === undefined) throw unknownPeer(nameOrId, all)
  if (found.length === 1) return id
  throw new SkeinError(
    'ERR_PEER_AMBIGUOUS',
    `${found.length} peers are named '${nameOrId}'; name one by its id`,
    { details: { peer: nameOrId, candidates: found.toSorted().slice(0, CANDIDATES) } }
  )
}

function unknownPeer(name: string, peers: readonly NamedPeer[]): SkeinError {
  const names = new Set(peers.flatMap((peer) => (peer.name === undefined ? [] : [peer.name])))
  const candidates = similarNames(name, names)
  const hint =
    candidates.length === 0
      ? 'no names are known yet; name it by its id, or wait until it has been seen'
      : `did you mean ${candidates.map((candidate) => `'${candidate}'`).join(', ')}?`
  return new SkeinError(
    'ERR_PEER_UNKNOWN',
    `no peer named '${name.slice(0, 64)}' is known; ${hint}`,
    { details: { peer: name.slice(0, 64), candidates } }
  )
}

/** Up to five of `names`, those most like `name` first. */
export function similarNames(name: string, names: Iterable<string>): string[] {
  const wanted = name.toLowerCase()
  return [...names]
    .map((text) => ({ text, rank: unlikeness(wanted, text.toLowerCase()) }))
    .toSorted((a, b) => a.rank - b.rank || (a.text < b.text ? -1 : 1))
    .slice(0, CANDIDATES)
    .map(({ text }) => text)
}

/** 0: one begins with the other; then by typing errors; then whatever contains it; then the rest. */
function unlikeness(wanted: string, name: string): number {
  if (name.startsWith(wanted) || wanted.startsWith(name)) return 0
  const errors = typingErrors(wanted, name)
  if (errors <= FORGIVEN) return errors
  return name.includes(wanted) ? FORGIVEN + 1 : FORGIVEN + 2
}

/** Letters to change, add or take away to make one text of the other; more than FORGIVEN where they differ much. */
function typingErrors(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > FORGIVEN) return Infinity
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const changed = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(changed, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1))
    }
    if (Math.min(...next) > FORGIVEN) return Infinity
    row = next
  }
  return row[b.length] ?? Infinity
}
