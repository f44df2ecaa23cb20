import type { ReceivedFrame, Verdict } from '../../src/mesh/contract.ts'
import { PRESENCE_CHANNEL } from '../../src/wire/presence.ts'

type FrameHandler = (frame: ReceivedFrame) => Verdict | Promise<Verdict>

/** The same handler. Announcements that it takes go no further: among N nodes they would be N times N. */
export function keepingAnnouncements(handler: FrameHandler): FrameHandler {
  return (frame) => {
    const verdict = handler(frame)
    if (frame.channel !== PRESENCE_CHANNEL) return verdict
    return typeof verdict === 'string' ? kept(verdict) : verdict.then(kept)
  }
}

const kept = (verdict: Verdict): Verdict => (verdict === 'accept' ? 'ignore' : verdict)
