// `npm run demo`: what Skein does, in half a minute, on this machine alone.
import { comeBack, flow, heal, meet, reach } from './steps.ts'
import { Stage } from './stage.ts'

const [BOLD, GREEN, RED, PLAIN] = process.stdout.isTTY
  ? ['\u001B[1m', '\u001B[32m', '\u001B[31m', '\u001B[0m']
  : ['', '', '', '']

let steps = 0

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}

/** Says what a step shows, takes it, and says how it went. */
async function step<Result>(
  title: string,
  shows: string,
  take: () => Promise<Result>,
  figures: (result: Result) => string
): Promise<Result> {
  say(`\n${BOLD}${++steps}. ${title}${PLAIN}\n   ${shows}`)
  const result = await take()
  say(`   ${GREEN}✓${PLAIN} ${figures(result)}`)
  return result
}

const same = (figures: string): string => figures

async function tour(stage: Stage): Promise<void> {
  const { cast } = await step(
    'Three nodes find each other',
    'anna, ben and cleo start with nothing but the name of their mesh. There is no server.',
    () => meet(stage),
    ({ figures }) => figures
  )
  await step(
    'Messages flow',
    'anna publishes, ben and cleo listen. Confirmed means signed and synced to disk.',
    () => flow(cast),
    same
  )
  await step(
    'A node goes away and comes back',
    'ben is off while anna publishes; then anna is off, and ben gets it all from cleo.',
    () => comeBack(stage, cast),
    same
  )
  await step(
    'A cut network heals',
    'The link between east and west is cut, both go on publishing. Then it heals.',
    () => heal(stage),
    same
  )
  await step(
    'A message to one node that is off',
    'anna sends to cleo, who is off. Nobody else could read it; it waits until cleo is back.',
    () => reach(stage, cast),
    same
  )
}

let stage: Stage | undefined
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    // No time for goodbyes: the nodes end with this process.
    process.on('exit', () => stage?.remove())
    process.exit(signal === 'SIGINT' ? 130 : 143)
  })
}
stage = Stage.open()
const startedAt = performance.now()
try {
  await tour(stage)
  say(`\nAll of it in ${((performance.now() - startedAt) / 1000).toFixed(1)} s. Next: README.md`)
} catch (error) {
  say(`   ${RED}✗${PLAIN} ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 1
} finally {
  await stage.close()
}
