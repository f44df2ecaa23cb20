import { spawn, spawnSync } from 'node:child_process'
import { describe, expect, it, onTestFinished } from 'vitest'
import { skipFor } from '../fixtures/needs.ts'
import { TOKEN, mqttPair, until } from './mqtt-client.ts'

const lack = (): string | undefined =>
  ['mosquitto_sub', 'mosquitto_pub'].some((name) => spawnSync(name, ['--help']).error)
    ? 'no mosquitto_sub and mosquitto_pub (mosquitto-clients)'
    : undefined

describe('mqtt: stock clients', () => {
  it('mosquitto_sub beside one node gets what mosquitto_pub beside another sends', async (context) => {
    skipFor(lack(), context)
    const [a, b] = await mqttPair()
    const at = ({ doors }: typeof a): string[] => {
      const [host = '', port = ''] = (doors.mqtt ?? '').split(':')
      return ['-h', host, '-p', port, '-u', 'any', '-P', TOKEN, '-V', 'mqttv311']
    }
    const options = ['-i', 'paper', '-c', '-q', '2', '-t', 'news/#', '-F', '%q %r %t %p']
    const sub = spawn('mosquitto_sub', [...at(a), ...options])
    onTestFinished(() => void sub.kill())
    let printed = ''
    sub.stdout.on('data', (chunk) => (printed += String(chunk)))
    await until(async () => (await a.node.subscriptions()).length === 1)
    for (const qos of ['0', '1', '2']) {
      const text = `hello ${qos}`
      const pub = spawn('mosquitto_pub', [
        ...at(b),
        '-q',
        qos,
        '-t',
        'news/today',
        '-m',
        text,
        '-r'
      ])
      const code = await new Promise((resolve) => pub.once('exit', resolve))
      expect(code).toBe(0)
    }
    await until(() => ['0', '1', '2'].every((qos) => printed.includes(`hello ${qos}`)))
    const lines = printed.trim().split('\n')
    expect(lines).toEqual([
      '0 0 news/today hello 0',
      '1 0 news/today hello 1',
      '2 0 news/today hello 2'
    ])
  })
})
