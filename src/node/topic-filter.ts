import { parseFilter, topicMatches } from '../wire/topic.ts'

/** Which topics a filter matches, for many of them. Throws ERR_FILTER. */
export function topicMatcher(filter: string): (topic: string) => boolean {
  const parsed = parseFilter(filter)
  const wildcard = filter.search(/[+#]/)
  if (wildcard === -1) return (topic) => topic === filter
  // `a/#` matches `a`, too.
  const [start, parent] = [filter.slice(0, wildcard), filter.slice(0, Math.max(0, wildcard - 1))]
  return (topic) => (topic.startsWith(start) || topic === parent) && topicMatches(parsed, topic)
}
