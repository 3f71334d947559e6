import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { scratchFolder } from './device-program.ts'
import { qemuMissing } from './guest.ts'
import { bootPortGuest } from './port-guest.ts'

const SERVER = fileURLToPath(new URL('../../examples/serve-random-byte.js', import.meta.url))
const folder = scratchFolder()

test('the example of a vhost-user server provides random bytes to a guest', {
  skip: qemuMissing ?? false,
}, async () => {
  const socket = path.join(folder, 'random-byte.sock')
  const server = spawn(process.execPath, [SERVER, socket], { stdio: ['ignore', 'ignore', 'pipe'] })
  const log: string[] = []
  const lines = createInterface(server.stderr)
  lines.on('line', (line) => log.push(line))
  await once(lines, 'line')
  const guest = await bootPortGuest({
    folder,
    arguments: ['-chardev', `socket,id=rng,path=${socket}`, '-device', 'vhost-user-rng-pci,chardev=rng'],
  })
  try {
    assert.equal(await guest.run('cat /sys/class/misc/hw_random/rng_current'), 'virtio_rng.0')
    assert.match(await guest.run('head -c 64 /dev/hwrng | od -An -v -tx1'), /^(\s*[0-9a-f]{2}){64}\s*$/)
  } finally {
    await guest.kill()
    server.kill()
    await once(server, 'exit')
  }
  assert.deepEqual(
    log.filter((line) => /refused|warning|error/.test(line)),
    [],
  )
})
