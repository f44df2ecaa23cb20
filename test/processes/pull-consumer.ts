// A consumer in a process of its own: pulls, says what it handled, acknowledges, says what was acknowledged.
// Each line is written before the next step, so that a kill at any point leaves a true account.
import { readFileSync, writeSync } from 'node:fs'

interface Api {
  readonly url: string
  readonly token: string
}

const [apiFile = '', name = ''] = process.argv.slice(2)

async function call<Answer>(action: string, body: unknown): Promise<Answer> {
  const { url, token } = JSON.parse(readFileSync(apiFile, 'utf8')) as Api
  const response = await fetch(`${url}/v1/subscriptions/${name}/${action}`, {
    method: 'POST',
    body: JSON.stringify(body),
    headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` }
  })
  const text = await response.text()
  if (!response.ok) throw new Error(`${action}: ${response.status} ${text}`)
  return (text === '' ? undefined : JSON.parse(text)) as Answer
}

for (;;) {
  try {
    const { messages } = await call<{
      messages: { skeinid: string; skeinattempt: number; data: string }[]
    }>('pull', {
      max: 20,
      waitMs: 1000
    })
    if (messages.length === 0) continue
    for (const message of messages) {
      writeSync(1, `handled ${message.skeinid} ${message.skeinattempt} ${message.data}\n`)
    }
    const ids = messages.map((message) => message.skeinid)
    await call('ack', { ack: ids })
    for (const id of ids) writeSync(1, `acked ${id}\n`)
  } catch (error) {
    // The node is being restarted: its next life has another port, which the file tells.
    writeSync(2, `${String(error)}\n`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
