import { onTestFinished } from 'vitest'
import type { Message, SubscribeOptions, Subscription } from '../../src/delivery/contract.ts'
import { type LoneEngine, type LoneEngineInit, createLoneEngine } from '../fixtures/lone-engine.ts'
import { settled } from '../fixtures/manual-clock.ts'

/** Stopped at the end of the test. */
export async function lone(init: LoneEngineInit = {}): Promise<LoneEngine> {
  const node = await createLoneEngine(init)
  onTestFinished(() => node.engine.stop())
  return node
}

/** A durable subscription `s`, open. */
export async function opened(
  { engine }: LoneEngine,
  options: SubscribeOptions = {},
  filter = 'a/#'
): Promise<Subscription> {
  const subscription = engine.subscriptions.subscribe(filter, { durable: 's', ...options })
  await subscription.ready
  return subscription
}

/** What can be had now, without waiting. */
export async function drain(subscription: Subscription): Promise<Message[]> {
  const messages: Message[] = []
  for (let quiet = 0; quiet < 6;) {
    const more = await subscription.pull(1000, 0)
    messages.push(...more)
    quiet = more.length === 0 ? quiet + 1 : 0
    await settled()
  }
  return messages
}

export const texts = (messages: readonly Message[]): string[] =>
  messages.map((message) => message.text())
