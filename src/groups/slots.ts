/** Parts that a group's messages are shared out by: enough for an even share among dozens of members. */
export const SLOTS = 256

/** The slot of a message: by its key, so that one member has all of a key, else by its id. */
export function slotOf(key: string | undefined, id: string): number {
  // A key and an id that read the same need not share a slot, and may.
  return mix(hashText(key ?? id)) & (SLOTS - 1)
}

/**
 * Members in the order in which a slot falls to them (rendezvous hashing): the first is its owner, and where that one
 * goes, the slot falls to the second; no other slot moves.
 */
export function ranking(slot: number, members: Iterable<string>): string[] {
  return [...members]
    .map((member) => ({ member, weight: weightOf(slot, member) }))
    .toSorted((a, b) => b.weight - a.weight || (a.member < b.member ? -1 : 1))
    .map(({ member }) => member)
}

/** The first of `ranking`; undefined where there are no members. */
export function desiredOwner(slot: number, members: Iterable<string>): string | undefined {
  let best: string | undefined
  let most = -1
  for (const member of members) {
    const weight = weightOf(slot, member)
    if (weight > most || (weight === most && best !== undefined && member < best)) {
      best = member
      most = weight
    }
  }
  return best
}

/** Hashes of member names: few, and asked for 256 times each. */
const hashes = new Map<string, number>()
const KEPT_HASHES = 4096

function weightOf(slot: number, member: string): number {
  let hash = hashes.get(member)
  if (hash === undefined) {
    if (hashes.size >= KEPT_HASHES) hashes.clear()
    hash = hashText(member)
    hashes.set(member, hash)
  }
  return mix(hash ^ mix(slot + 1))
}

/** FNV-1a over UTF-16 units. The same on every machine and in every version: nodes must agree. */
function hashText(text: string): number {
  let hash = 0x811c9dc5
  for (let index = 0; index < text.length; index++) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193)
  }
  return hash >>> 0
}

/** The last step of MurmurHash3: every bit of the result depends on every bit that goes in. */
function mix(value: number): number {
  let hash = value >>> 0
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}
