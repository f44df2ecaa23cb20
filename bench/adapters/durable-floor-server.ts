import { open } from 'node:fs/promises'
import net from 'node:net'
import { createUnframer } from './frames.ts'

const [port, path] = process.argv.slice(2)
const file = await open(path as string, 'a')
let waiting: Uint8Array[] = []
let syncing = false

async function sync(socket: net.Socket): Promise<void> {
  syncing = true
  while (waiting.length > 0) {
    const batch = waiting
    waiting = []
    await file.writev(batch)
    await file.datasync()
    const count = Buffer.allocUnsafe(4)
    count.writeUInt32BE(batch.length)
    socket.write(count)
  }
  syncing = false
}

const server = net.createServer((socket) => {
  socket.setNoDelay(true)
  socket.on('error', () => socket.destroy())
  const onBytes = createUnframer((frame) => {
    waiting.push(frame)
  })
  socket.on('data', (data) => {
    onBytes(data)
    if (!syncing) void sync(socket)
  })
})
server.listen(Number(port), '127.0.0.1')
