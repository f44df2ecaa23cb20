/** From the node's Prometheus text, s; undefined where it is not told. */
export function loopDelayOf(text: string): number | undefined {
  const match = /^skein_nodejs_eventloop_lag_p99_seconds (\S+)$/m.exec(text)
  const value = Number(match?.[1])
  return Number.isFinite(value) ? value : undefined
}
