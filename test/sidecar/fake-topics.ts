import type { TopicStatus } from '../../src/node/contract.ts'

/** One channel with so many messages. */
export function topicsOf(messages: number): TopicStatus[] {
  return [
    {
      channel: 'orders',
      joined: true,
      members: 0,
      messages,
      bytes: 0,
      journal: { first: 0, next: messages },
      logs: []
    }
  ]
}
