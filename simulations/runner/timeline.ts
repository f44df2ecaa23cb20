import { faultEventOf } from '../fault-event.ts'
import type { Action, Step } from '../scenario/step.ts'
import type { RunNetwork, RunTime } from './contract.ts'
import type { Population } from './population.ts'
import type { Recorder } from './recorder.ts'

export interface TimelineComponents {
  readonly time: RunTime
  readonly network: RunNetwork
  readonly population: Population
  readonly recorder: Recorder
}

/** Who is connected shows some time after a fault, too, ms: most links are given up or made anew by then. */
const AFTERMATH_MS = 1500

/** Does what the steps say, when they say it, and writes down what was done and who was connected. */
export function startTimeline(components: TimelineComponents, steps: readonly Step[]): void {
  const { time } = components
  const sample = (): void => sampleTopology(components)
  time.schedule(AFTERMATH_MS, sample)
  for (const step of steps) {
    time.schedule(step.atMs, () => {
      take(components, step)
      sample()
    })
    if (step.edge !== 'change') time.schedule(step.atMs + AFTERMATH_MS, sample)
  }
}

function take(components: TimelineComponents, step: Step): void {
  const event = faultEventOf(step)
  if (event?.kind === 'fault') components.recorder.add(event)
  for (const action of step.actions) act(components, action)
  if (event?.kind === 'heal') components.recorder.add(event)
}

function act({ network, population }: TimelineComponents, action: Action): void {
  if (action.do === 'impair') return network.impair(action.id, action.links, action.with)
  if (action.do === 'repair') return network.repair(action.id)
  const node = population.present(action.node)
  if (node === undefined) return
  switch (action.do) {
    case 'crash':
      return node.crash(action.unsynced)
    case 'start':
      return node.start()
    case 'stop':
      return node.stop()
    case 'pause':
      return node.pause()
    case 'resume':
      return node.resume()
    case 'skew':
      return node.skew(action.byMs)
    case 'disk':
      return node.setDisk(action)
    case 'corrupt':
      return node.corrupt(action.bits)
  }
}

function sampleTopology({ network, recorder }: TimelineComponents): void {
  recorder.add({ kind: 'topology', links: network.topology() })
}
