import { describe, expect, it } from 'vitest'
import { LIMITS } from '../../src/core/limits.ts'
import type { Message } from '../../src/node/contract.ts'
import { cloudEventJson } from '../../src/sidecar/events/cloud-event.ts'
import { EventSharing } from '../../src/sidecar/events/event-sharing.ts'

let read = 0

/** A message that says when its text is made. */
function messageOf(payload: Uint8Array, hand: Partial<Message> = {}): Message {
  const message = {
    id: 'p/s/1/a',
    publisher: 'p',
    session: 's',
    sequence: 1,
    time: new Date(0),
    expiresAt: undefined,
    contentType: 'text/plain',
    key: undefined,
    headers: {},
    attempt: 1,
    late: false,
    fence: undefined,
    payload,
    ...hand
  }
  return Object.defineProperty(message, 'topic', {
    get: () => {
      read++
      return 'a'
    }
  }) as unknown as Message
}

describe('sidecar event sharing', () => {
  it('sharing: streams that hand over the same message use one text, where it is the same', () => {
    const sharing = new EventSharing()
    const payload = Buffer.from('x')
    const made = (message: Message, encoding: 'auto' | 'base64' = 'auto'): number => {
      const before = read
      const json = sharing.jsonOf(message, encoding)
      const count = read - before
      expect(json).toBe(cloudEventJson(message, encoding))
      return count
    }
    // A stream alone has nobody to share with.
    const leave = sharing.enter()
    expect([made(messageOf(payload)), made(messageOf(payload))]).toEqual([1, 1])
    sharing.enter()
    expect([made(messageOf(payload)), made(messageOf(payload))]).toEqual([1, 0])
    expect(made(messageOf(Buffer.from('x')))).toBe(1)
    expect(made(messageOf(payload), 'base64')).toBe(1)
    expect(made(messageOf(payload, { attempt: 2 }))).toBe(1)
    expect(made(messageOf(payload, { late: true }))).toBe(1)
    expect(made(messageOf(payload, { fence: 7 }))).toBe(1)
    expect(made(messageOf(payload))).toBe(0)
    const nothing = new Uint8Array()
    expect([made(messageOf(nothing)), made(messageOf(nothing))]).toEqual([1, 1])
    leave()
    expect(made(messageOf(payload))).toBe(1)
  })

  it('sharing: the oldest texts are forgotten, with the records that they keep in memory', () => {
    const sharing = new EventSharing()
    sharing.enter()
    sharing.enter()
    const record = LIMITS.pushBytes
    const messages = Array.from({ length: LIMITS.eventTextsBytes / record + 1 }, () =>
      messageOf(new Uint8Array(new ArrayBuffer(record), 0, 8))
    )
    for (const message of messages) sharing.jsonOf(message, 'auto')
    read = 0
    sharing.jsonOf(messages.at(-1) as Message, 'auto')
    expect(read).toBe(0)
    sharing.jsonOf(messages[0] as Message, 'auto')
    expect(read).toBe(1)
  })

  it('sharing: the more streams there are, the less one formats at once', () => {
    const sharing = new EventSharing()
    const sizes = Array.from({ length: 10_000 }, () => {
      sharing.enter()
      return sharing.batchBytes
    })
    expect(sizes[0]).toBe(LIMITS.sseBatchBytes)
    for (const [index, bytes] of sizes.entries()) {
      expect(bytes * (index + 1)).toBeLessThanOrEqual(
        Math.max(LIMITS.eventStreamsBytes, (index + 1) * LIMITS.sseBatchLeastBytes)
      )
    }
  })
})
