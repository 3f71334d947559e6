import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { scratchFolder, startDevice } from './device-program.ts'
import { qemu, qemuMissing } from './guest.ts'
import { bootPortGuest } from './port-guest.ts'

const DRIVER = 'vfio-user-pci'
const skip =
  qemuMissing ??
  (qemu().devices.has(DRIVER) ? false : `QEMU ${qemu().version} has no ${DRIVER}: from 10.1 on it may have it`)
const folder = scratchFolder()
const DISK_BYTES = 16 << 20

test('a guest whose memory is not shared uses a disk and random bytes, by message', { skip }, async () => {
  const [disk, entropySocket, blockSocket] = ['disk.img', 'entropy.sock', 'block.sock'].map((name) =>
    path.join(folder, name),
  )
  writeFileSync(disk, '')
  truncateSync(disk, DISK_BYTES)
  const entropy = await startDevice(['entropy', '--transport=vfio-user', `--socket-path=${entropySocket}`])
  const block = await startDevice([
    ...['block', '--transport=vfio-user', `--socket-path=${blockSocket}`],
    ...[`--blk-file=${disk}`, '--serial=outboard-vfio'],
  ])
  const plugged = [entropySocket, blockSocket].flatMap((socket) => [
    '-device',
    JSON.stringify({ driver: DRIVER, socket: { type: 'unix', path: socket } }),
  ])
  const guest = await bootPortGuest({ folder, privateMemory: true, arguments: plugged })
  try {
    assert.match(await guest.run('cat /sys/class/misc/hw_random/rng_current'), /^virtio_rng/)
    assert.equal(await guest.run('head -c 64 /dev/hwrng | wc -c'), '64')
    assert.equal(await guest.run('cat /sys/block/vda/serial; echo'), 'outboard-vfio')
    const sum = await guest.run(
      'dd if=/dev/urandom of=/tmp/data bs=1M count=2 2>/dev/null; dd if=/tmp/data of=/dev/vda bs=64k conv=fsync 2>/dev/null; md5sum < /tmp/data',
    )
    await guest.run('echo 3 > /proc/sys/vm/drop_caches')
    assert.equal(await guest.run('dd if=/dev/vda bs=1M count=2 2>/dev/null | md5sum'), sum)
    const written = createHash('md5').update(readFileSync(disk).subarray(0, 2 << 20))
    assert.equal(`${written.digest('hex')}  -`, sum)
  } finally {
    await guest.kill()
  }
  for (const device of [entropy, block]) {
    assert.equal(await device.stop(), 0, device.log.join('\n'))
    assert.equal(device.log.filter((line) => /shares no memory/.test(line)).length, 1)
    assert.deepEqual(
      device.log.filter((line) => /refused|needs a reset|warning|error|cannot/.test(line)),
      [],
    )
  }
})
