import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import type { FrameStream, Transport, Verdict } from '../../src/mesh/contract.ts'

import { channelTests } from './channel-suite.ts'
import { frame, listen, numberOf, until } from './harness.ts'
import type { Net } from './harness.ts'

const PROTOCOL = '/skein/test/1.0.0'
const LINE = [
  [0, 1],
  [1, 2]
] as const

async function members(
  transports: readonly Transport[],
  channel: string,
  count: number
): Promise<void> {
  await until(`${count} members of ${channel} everywhere`, () =>
    transports.every((transport) => transport.members(channel).length === count)
  )
}

/** What every Transport does. */
export function transportSuite(name: string, createNet: () => Net): void {
  describe(`mesh, ${name}`, () => {
    let net: Net
    beforeEach(() => {
      net = createNet()
    })
    afterEach(() => net.stop())

    const create = async (
      count: number,
      links?: ReadonlyArray<readonly [number, number]>
    ): Promise<[Transport, Transport, Transport, ...Transport[]]> =>
      (await net.create(count, links)) as [Transport, Transport, Transport, ...Transport[]]

    it('broadcast: members get whole frames, complete and in order', async () => {
      const [a, b] = await create(2)
      const inbox = listen(b)
      a.join('c')
      b.join('c')
      await members([a, b], 'c', 1)
      for (let i = 0; i < 300; i++) a.broadcast('c', frame(i, 64 + i * 37))
      await until('300 frames', () => inbox.frames.length >= 300)
      expect(inbox.numbers('c')).toEqual(Array.from({ length: 300 }, (_, i) => i))
      for (const [i, got] of inbox.frames.entries()) {
        expect(got).toMatchObject({ channel: 'c', from: a.self.id, complete: true })
        expect(Buffer.compare(got.bytes, frame(i, 64 + i * 37).bytes)).toBe(0)
      }
    })

    it('broadcast: a publisher that is no member reaches the members', async () => {
      const [a, b] = await create(2)
      const inbox = listen(b)
      b.join('c')
      await until('the member is known', () => a.members('c').length === 1)
      a.broadcast('c', frame(1))
      await until('the frame', () => inbox.frames.length === 1)
      expect(inbox.numbers('c')).toEqual([1])
    })

    it('broadcast: who is no member, or left, gets nothing', async () => {
      const [a, b, c] = await create(3)
      const [atB, atC] = [listen(b), listen(c)]
      for (const transport of [a, b, c]) transport.join('fence')
      for (const transport of [a, b]) transport.join('c')
      await members([a, b, c], 'fence', 2)
      await until('two members', () => c.members('c').length === 2)
      a.broadcast('c', frame(1))
      a.broadcast('fence', frame(2))
      await until('the fence', () => atC.frames.length + atB.frames.length === 3)
      expect(atB.numbers('c')).toEqual([1])
      expect(atC.numbers('c')).toEqual([])
      b.leave('c')
      await until('b has left', () => a.members('c').length === 0)
      a.broadcast('c', frame(3))
      a.broadcast('fence', frame(4))
      await until('the second fence', () => atB.numbers('fence').length === 2)
      expect(atB.numbers('c')).toEqual([1])
    })

    it('broadcast: with no members it is a no-op', async () => {
      const [a] = await create(1)
      a.join('c')
      a.broadcast('c', frame(1))
      expect(a.members('c')).toEqual([])
      expect(a.room('c')).toBeUndefined()
    })

    it('forwarding: along a line, and only what was accepted', async () => {
      const [a, b, c] = await create(3, LINE)
      listen(a)
      listen(b, (got) => (numberOf(got.bytes) === 2 ? 'ignore' : 'accept'))
      const inbox = listen(c)
      for (const transport of [a, b, c]) transport.join('c')
      await until(
        'the line stands',
        () =>
          a.members('c').length === 1 && b.members('c').length === 2 && c.members('c').length === 1
      )
      for (let i = 1; i <= 3; i++) a.broadcast('c', frame(i))
      await until('what was accepted', () => inbox.frames.length === 2)
      expect(inbox.numbers('c')).toEqual([1, 3])
      expect(inbox.frames.every(({ from }) => from === b.self.id)).toBe(true)
    })

    it('forwarding: a full mesh of 5 settles to one copy of each frame per node', async () => {
      const all = await create(5)
      const inboxes = all.map((transport) => listen(transport))
      for (const transport of all) transport.join('c')
      await members(all, 'c', 4)
      let sent = 0
      const round = async (): Promise<number> => {
        const before = all.reduce((sum, transport) => sum + transport.stats().framesReceived, 0)
        for (let i = 0; i < 20; i++) {
          all[0].broadcast('c', frame(++sent, 2000))
          await until('the frame everywhere', () =>
            inboxes.slice(1).every(({ frames }) => frames.length === sent)
          )
        }
        return all.reduce((sum, transport) => sum + transport.stats().framesReceived, -before)
      }
      let copies = 0
      for (let rounds = 0; rounds < 10; rounds++) {
        copies = await round()
        if (copies <= 84) break
      }
      // 20 frames to 4 nodes are 80 copies.
      expect(copies).toBeLessThanOrEqual(84)
    })

    it('forwarding: edges that were dropped come back when a neighbour is lost', async () => {
      const all = await create(4)
      const inboxes = all.map((transport) => listen(transport))
      for (const transport of all) transport.join('c')
      await members(all, 'c', 3)
      for (let i = 1; i <= 50; i++) {
        all[0].broadcast('c', frame(i))
        await until('the frame everywhere', () =>
          inboxes.slice(1).every(({ frames }) => frames.length === i)
        )
      }
      await all[3]?.stop()
      await members(all.slice(0, 3), 'c', 2)
      all[1].broadcast('c', frame(51))
      await until(
        'the frame at the others',
        () => inboxes[0]?.frames.length === 1 && inboxes[2]?.frames.length === 51
      )
      expect(inboxes[2]?.numbers('c')).toEqual(Array.from({ length: 51 }, (_, i) => i + 1))
    })

    it('verdict: a rejected frame lowers the score of the neighbour, and of nobody else', async () => {
      const [a, b, c] = await create(3)
      listen(a, ({ from }) => (from === b.self.id ? 'reject' : 'accept'))
      for (const transport of [a, b, c]) transport.join('c')
      await members([a, b, c], 'c', 2)
      expect(a.score(b.self.id)).toBeGreaterThanOrEqual(0)
      b.broadcast('c', frame(1))
      await until('b is blamed', () => a.score(b.self.id) < 0)
      c.broadcast('c', frame(2))
      expect(a.stats().framesRejected).toBeGreaterThan(0)
      expect(a.score(c.self.id)).toBeGreaterThanOrEqual(0)
    })

    it('verdict: a peer that is blamed again and again is cut off', async () => {
      const [a, b] = await create(2)
      await until('connected', () => a.peers().some(({ connected }) => connected))
      for (let i = 0; i < 8; i++) a.blame(b.self.id, 'test')
      await until('cut off', () => a.peers().every(({ connected }) => !connected))
      expect(a.score(b.self.id)).toBeLessThan(-70)
    })

    it('verdict: a true frame gets through after a tampered copy with the same head', async () => {
      const [a, b, c] = await create(3)
      const good = frame(7)
      const bad = { bytes: good.bytes.slice().fill(1, 64), headLength: 64 }
      const inbox = listen(c, ({ bytes, complete }) =>
        complete && bytes[100] === 1 ? 'reject' : 'accept'
      )
      listen(a, () => 'ignore')
      listen(b, () => 'ignore')
      for (const transport of [a, b, c]) transport.join('c')
      await members([a, b, c], 'c', 2)
      a.broadcast('c', bad)
      await until('the bad copy', () => inbox.frames.length === 1)
      b.broadcast('c', good)
      await until('the good copy', () => inbox.frames.length === 2)
      expect(inbox.frames[1]?.bytes[100]).toBe(7)
    })

    it('verdict: a slow judge holds nothing else up and loses nothing', async () => {
      const [a, b] = await create(2)
      const inbox = listen(b, async (): Promise<Verdict> => {
        await new Promise((resolve) => setImmediate(resolve))
        return 'accept'
      })
      a.join('c')
      b.join('c')
      await members([a, b], 'c', 1)
      for (let i = 0; i < 200; i++) a.broadcast('c', frame(i, 15_000))
      await until('all', () => inbox.frames.length === 200)
      expect(inbox.numbers('c')).toEqual(Array.from({ length: 200 }, (_, i) => i))
    })

    it('oversize: a frame above the push limit is announced by its head', async () => {
      const [a, b] = await create(2)
      const inbox = listen(b)
      a.join('c')
      b.join('c')
      await members([a, b], 'c', 1)
      // Gossip's own streams may still be opening.
      await until('the head', () => {
        if (inbox.heads.length === 0)
          a.broadcast('c', frame(1 + Math.floor(performance.now()), 300_000))
        return inbox.heads.length > 0
      })
      expect(inbox.heads[0]).toMatchObject({ complete: false, channel: 'c' })
      expect(inbox.heads[0]?.bytes.length).toBe(64)
      expect(inbox.frames).toEqual([])
    })

    it('room: is full above half of the buffer, and comes back', async () => {
      const [a, b] = await create(2)
      const inbox = listen(b)
      a.join('c')
      b.join('c')
      await members([a, b], 'c', 1)
      expect(a.room('c')).toBeUndefined()
      let i = 0
      while (a.room('c') === undefined && i < 100) a.broadcast('c', frame(i++, 100_000))
      expect(i).toBeLessThan(100)
      expect(a.stats().bufferedBytes).toBeLessThanOrEqual(4 * 1024 * 1024)
      await a.room('c')
      expect(a.room('c')).toBeUndefined()
      await until('all', () => inbox.frames.length === i)
      expect(a.stats().framesDropped).toBe(0)
    })

    it('room: above the bound frames are dropped, counted and said', async () => {
      const [a, b] = await create(2)
      listen(b)
      a.join('c')
      b.join('c')
      await members([a, b], 'c', 1)
      const dropped: number[] = []
      a.events.on('frame:dropped', ({ bytes }) => dropped.push(bytes))
      for (let i = 0; i < 80; i++) a.broadcast('c', frame(i, 100_000))
      expect(dropped.length).toBeGreaterThan(0)
      expect(a.stats().framesDropped).toBe(dropped.length)
      expect(a.stats().bufferedBytes).toBeLessThanOrEqual(4 * 1024 * 1024)
    })

    it('channels: members come and go with events', async () => {
      const [a, b] = await create(2)
      const seen: string[] = []
      a.events.on('channel:up', ({ channel }) => seen.push(`up ${channel}`))
      a.events.on('channel:down', ({ channel }) => seen.push(`down ${channel}`))
      a.join('c')
      b.join('c')
      b.join('other')
      await until(
        'b is there',
        () => a.members('other').length === 1 && a.members('c').length === 1
      )
      expect(a.peers()[0]?.channels.toSorted()).toEqual(['c', 'other'])
      b.leave('c')
      await until('b is gone', () => a.members('c').length === 0)
      expect(seen).toEqual(['up c', 'down c'])
    })

    channelTests(create, () => net)

    it('peers: up, down, and up again after a cut', async () => {
      const seen: string[] = []
      const [a, b] = await create(2)
      a.events.on('peer:down', () => seen.push('down'))
      const inbox = listen(b)
      a.join('c')
      b.join('c')
      await members([a, b], 'c', 1)
      a.events.on('peer:up', ({ peer }) => seen.push(`up ${peer === b.self.id}`))
      net.cut()
      await until('down', () => a.members('c').length + b.members('c').length === 0)
      expect(a.peers()[0]).toMatchObject({ id: b.self.id, connected: false })
      expect(a.peers()[0]?.lastSeen).toBeGreaterThan(0)
      net.heal()
      const healed = performance.now()
      await members([a, b], 'c', 1)
      expect(performance.now() - healed).toBeLessThan(2000)
      a.broadcast('c', frame(1))
      await until('the frame', () => inbox.frames.length === 1)
      expect(seen).toEqual(['down', 'up true'])
    })

    describe('streams', () => {
      let a: Transport
      let b: Transport
      let far: Promise<FrameStream>
      beforeEach(async () => {
        ;[a, b] = await create(2)
        far = new Promise((resolve) => b.handle(PROTOCOL, resolve))
        await until('connected', () =>
          [a, b].every((one) => one.peers().some((peer) => peer.connected))
        )
      })

      it('streams: carry frames both ways and end when each half is closed', async () => {
        const near = await a.open(b.self.id, PROTOCOL)
        const sent = [new Uint8Array(0), Uint8Array.of(1, 2, 3), new Uint8Array(400_000).fill(9)]
        const echo = (async () => {
          const stream = await far
          expect(stream.peer).toBe(a.self.id)
          for await (const one of stream.frames) await stream.send(one)
          await stream.close()
        })()
        for (const one of sent) await near.send(one)
        await near.close()
        const got: Uint8Array[] = []
        for await (const one of near.frames) got.push(one)
        await echo
        expect(got.map(({ length }) => length)).toEqual([0, 3, 400_000])
        expect(Buffer.compare(got[2] as Uint8Array, sent[2] as Uint8Array)).toBe(0)
        await expect(near.send(Uint8Array.of(1))).rejects.toMatchObject({ code: 'ERR_STREAM' })
      })

      it('streams: a reader that does not read stops the writer', async () => {
        const near = await a.open(b.self.id, PROTOCOL)
        const total = 200
        let written = 0
        const writing = (async () => {
          for (; written < total; written++) await near.send(new Uint8Array(250_000))
          await near.close()
        })()
        const stream = await far
        let settled = -1
        await until('the writer waits', () => {
          const same = settled === written && written > 0
          settled = written
          return same
        })
        expect(written).toBeLessThan(total / 2)
        let read = 0
        for await (const one of stream.frames) read += one.length
        await writing
        expect(read).toBe(total * 250_000)
      })

      it('streams: an abort reaches the other side as ERR_STREAM', async () => {
        const near = await a.open(b.self.id, PROTOCOL)
        await near.send(Uint8Array.of(1))
        const stream = await far
        const frames = stream.frames[Symbol.asyncIterator]()
        expect((await frames.next()).value).toEqual(Uint8Array.of(1))
        near.abort(new Error('enough'))
        await expect(frames.next()).rejects.toMatchObject({ code: 'ERR_STREAM' })
        await expect(near.send(Uint8Array.of(1))).rejects.toMatchObject({ code: 'ERR_STREAM' })
      })

      it('streams: break with the link', async () => {
        const near = await a.open(b.self.id, PROTOCOL)
        await near.send(Uint8Array.of(1))
        const stream = await far
        const frames = stream.frames[Symbol.asyncIterator]()
        await frames.next()
        net.cut()
        await expect(frames.next()).rejects.toMatchObject({ code: 'ERR_STREAM' })
        await expect(
          (async () => {
            for (;;) await near.send(new Uint8Array(100_000))
          })()
        ).rejects.toMatchObject({ code: 'ERR_STREAM' })
      })

      it('streams: opening fails with a code', async () => {
        await expect(a.open('12D3KooWnobody', PROTOCOL)).rejects.toMatchObject({
          code: 'ERR_PEER_UNREACHABLE'
        })
        await expect(a.open(b.self.id, '/skein/unknown')).rejects.toMatchObject({
          code: 'ERR_STREAM'
        })
        await expect(
          a.open(b.self.id, PROTOCOL, { signal: AbortSignal.abort() })
        ).rejects.toMatchObject({ code: 'ERR_ABORTED' })
      })
    })

    it('lifecycle: what was broadcast before a stop still arrives', async () => {
      const [a, b] = await create(2)
      const inbox = listen(b)
      a.join('c')
      b.join('c')
      await members([a, b], 'c', 1)
      for (let i = 0; i < 10; i++) a.broadcast('c', frame(i, 50_000))
      await a.stop()
      await until('all', () => inbox.frames.length === 10)
      expect(inbox.numbers('c')).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    })

    it('lifecycle: stop is quick, can be repeated, and is seen by the others', async () => {
      const [a, b] = await create(2)
      await until('connected', () => a.peers().some(({ connected }) => connected))
      const began = performance.now()
      await b.stop()
      await b.stop()
      expect(performance.now() - began).toBeLessThan(2000)
      await until('down', () => a.peers().every(({ connected }) => !connected))
      expect(() => b.broadcast('c', frame(1))).not.toThrow()
    })
  })
}
