import type { MetricsComponents } from './metrics.ts'

/**
 * Metrics that are loaded when they are first asked for: the registry and its observers cost memory and idle time
 * that most embedded nodes never use. The counters themselves count from the start.
 */
export function createLazyMetrics(components: MetricsComponents): { text(): Promise<string> } {
  let loading: Promise<{ text(): Promise<string> }> | undefined
  return {
    text: async () => {
      loading ??= import('./metrics.ts').then(({ createMetrics }) => createMetrics(components))
      return (await loading).text()
    }
  }
}
