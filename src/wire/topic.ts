import { SkeinError } from '../core/errors.ts'
import type { ErrorCode } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { RecentCache } from './recent-cache.ts'

/** A topic taken apart: `channel + suffix === topic`. */
export interface ParsedTopic {
  readonly topic: string
  /** The first level; the first two for `$group/<name>` and `$dlq/<name>`. */
  readonly channel: string
  /** What follows the channel, its leading slash included: '' for `a`, '/' for `a/`, '/b' for `a/b`. */
  readonly suffix: string
  /** `suffix` as UTF-8; shared, not to be written to. */
  readonly suffixBytes: Uint8Array
}

/** A filter that keeps to the grammar. */
export interface ParsedFilter {
  readonly filter: string
  readonly levels: readonly string[]
  /** The one channel its topics are in; undefined when a wildcard stands in the channel's place. */
  readonly channel: string | undefined
  /** Can a topic of `channel` match? */
  matchesChannel(channel: string): boolean
}

/** First levels whose channel has a second level. */
const TWO_LEVEL_CHANNELS: readonly string[] = ['$group', '$dlq']

const topics = new RecentCache<string, ParsedTopic>(4096)

/**
 * Takes a topic apart: 1 to 14 levels between slashes, at most 200 bytes as UTF-8, not empty, without `+`, `#`,
 * NUL and lone surrogates. Levels may be empty. Throws ERR_TOPIC.
 */
export function parseTopic(topic: string): ParsedTopic {
  const known = topics.get(topic)
  if (known !== undefined) return known
  checkText('ERR_TOPIC', 'topic', topic)
  const wildcard = topic.search(/[+#]/)
  if (wildcard !== -1) {
    throw topicError('ERR_TOPIC', 'topic', topic, {
      index: wildcard,
      problem: `has the wildcard '${topic[wildcard]}'; wildcards are for filters, a message goes to one topic`
    })
  }
  const channel = channelOf('ERR_TOPIC', topic)
  const suffix = topic.slice(channel.length)
  const parsed: ParsedTopic = { topic, channel, suffix, suffixBytes: Buffer.from(suffix) }
  topics.set(topic, parsed)
  return parsed
}

/** Is `channel` the channel of some topic? */
export function isChannel(channel: string): boolean {
  try {
    return parseTopic(channel === '' ? '/' : channel).channel === channel
  } catch (error) {
    if (error instanceof SkeinError && error.code === 'ERR_TOPIC') return false
    throw error
  }
}

/**
 * Can `suffix` follow a channel in a topic? The whole topic's length is the publisher's to check. Behind a channel of
 * dead letters stands a whole topic, of any length that a topic may have.
 */
export function isSuffix(suffix: string): boolean {
  if (suffix === '') return true
  if (suffix.charCodeAt(0) !== SLASH || suffix.length > LIMITS.topicBytes + 1) return false
  let slashes = 0
  for (let index = 0; index < suffix.length; index++) {
    const code = suffix.charCodeAt(index)
    if (code === SLASH) slashes++
    else if (code === PLUS || code === HASH || code === 0) return false
  }
  return slashes <= LIMITS.topicLevels
}

const SLASH = 0x2f
const PLUS = 0x2b
const HASH = 0x23

/** The topic of a channel and a suffix. */
export function joinTopic(channel: string, suffix: string): string {
  return channel + suffix
}

/** A topic or filter in this node's own inbox, `@me` or `@me/...`, under its PeerId; any other as it is. */
export function resolveSelf(filterOrTopic: string, self: string): string {
  if (filterOrTopic !== '@me' && !filterOrTopic.startsWith('@me/')) return filterOrTopic
  return `@${self}${filterOrTopic.slice('@me'.length)}`
}

/** Does `topic` begin with `$`, which is Skein's own? Who may publish there is the node's decision. */
export function isReserved(topic: string): boolean {
  return topic.charCodeAt(0) === 0x24
}

/**
 * Takes a filter apart: a topic in which `+` may stand for one level and `#`, as the last level, for the rest,
 * including nothing (`a/#` matches `a`). Throws ERR_FILTER.
 */
export function parseFilter(filter: string): ParsedFilter {
  checkText('ERR_FILTER', 'filter', filter)
  const levels = filter.split('/')
  let index = 0
  for (const [place, level] of levels.entries()) {
    const wildcard = level.search(/[+#]/)
    if (wildcard !== -1 && level.length > 1) {
      throw topicError('ERR_FILTER', 'filter', filter, {
        index: index + wildcard,
        problem: `has '${level[wildcard]}' inside the level '${level}'; a wildcard takes a level of its own`
      })
    }
    if (level === '#' && place !== levels.length - 1) {
      throw topicError('ERR_FILTER', 'filter', filter, {
        index,
        problem: "has '#' before its last level; use '+' for one level in the middle"
      })
    }
    index += level.length + 1
  }
  return {
    filter,
    levels,
    channel: filterChannel(filter, levels),
    matchesChannel: (channel) => levelsMatchChannel(levels, channel)
  }
}

/**
 * Does the filter match the topic? First levels that start with `$` or `@` are matched by name only. The
 * plain statement of the rule, which the trie is tested against.
 */
export function topicMatches(filter: string | ParsedFilter, topic: string): boolean {
  const pattern = typeof filter === 'string' ? filter.split('/') : filter.levels
  const levels = topic.split('/')
  if (startsWithWildcard(pattern) && isHidden(topic)) return false
  for (const [place, level] of pattern.entries()) {
    if (level === '#') return true
    if (place >= levels.length) return false
    if (level !== '+' && level !== levels[place]) return false
  }
  return pattern.length === levels.length
}

/** Is the topic's first level one that wildcards do not match? */
export function isHidden(topic: string): boolean {
  const first = topic.charCodeAt(0)
  return first === 0x24 || first === 0x40
}

function startsWithWildcard(levels: readonly string[]): boolean {
  return levels[0] === '+' || levels[0] === '#'
}

function levelsMatchChannel(pattern: readonly string[], channel: string): boolean {
  if (startsWithWildcard(pattern) && isHidden(channel)) return false
  for (const [place, level] of channel.split('/').entries()) {
    const wanted = pattern[place]
    if (wanted === '#') return true
    if (wanted !== '+' && wanted !== level) return false
  }
  return true
}

function filterChannel(filter: string, levels: readonly string[]): string | undefined {
  if (startsWithWildcard(levels)) return undefined
  const second = levels[1]
  if (TWO_LEVEL_CHANNELS.includes(levels[0] as string) && (second === '+' || second === '#')) {
    return undefined
  }
  return channelOf('ERR_FILTER', filter)
}

function channelOf(code: ErrorCode, topic: string): string {
  const slash = topic.indexOf('/')
  const first = slash === -1 ? topic : topic.slice(0, slash)
  if (!TWO_LEVEL_CHANNELS.includes(first)) return first
  const end = slash === -1 ? -1 : topic.indexOf('/', slash + 1)
  const channel = end === -1 ? topic : topic.slice(0, end)
  if (channel.length > first.length + 1) return channel
  throw topicError(code, code === 'ERR_TOPIC' ? 'topic' : 'filter', topic, {
    index: first.length,
    problem: `needs a name after '${first}/'`
  })
}

function checkText(code: ErrorCode, what: string, text: string): void {
  if (text === '') {
    throw new SkeinError(code, `the ${what} is empty; give at least one level, such as 'orders'`)
  }
  // Before anything that costs by length: a topic never has more UTF-16 units than UTF-8 bytes.
  const bytes = text.length > LIMITS.topicBytes ? text.length : Buffer.byteLength(text)
  if (bytes > LIMITS.topicBytes) {
    throw new SkeinError(
      code,
      `the ${what} '${text.slice(0, 40)}...' takes more than ${LIMITS.topicBytes} bytes; shorten its levels`
    )
  }
  const odd = text.search(/\0|\p{Surrogate}/u)
  if (odd !== -1) {
    throw topicError(code, what, text, {
      index: odd,
      problem: text[odd] === '\0' ? 'has a NUL character' : 'has half of a surrogate pair'
    })
  }
  const levels = text.split('/').length
  if (levels > LIMITS.topicLevels) {
    throw new SkeinError(
      code,
      `the ${what} '${text}' has ${levels} levels; at most ${LIMITS.topicLevels} are allowed`
    )
  }
}

function topicError(
  code: ErrorCode,
  what: string,
  text: string,
  fault: { index: number; problem: string }
): SkeinError {
  return new SkeinError(
    code,
    `the ${what} ${JSON.stringify(text)} ${fault.problem} (character ${fault.index + 1})`,
    { details: { index: fault.index } }
  )
}
