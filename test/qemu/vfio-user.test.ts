import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { VFIO_USER } from '../../src/engines/qemu/qemu.ts'
import { scratchFolder, startDevice } from './device-program.ts'
import { qemuMissing, vfioUserMissing } from './guest.ts'
import { bootPortGuest } from './port-guest.ts'

const skip = qemuMissing ?? vfioUserMissing ?? false
const folder = scratchFolder()
const DISK_BYTES = 16 << 20

/** QEMU's argument for what is served at a socket; only as JSON it takes a socket's address. */
function plugged(socket: string): string[] {
  return ['-device', JSON.stringify({ driver: VFIO_USER, socket: { type: 'unix', path: socket } })]
}

test('a guest uses a disk of two queues and random bytes, each device a PCI device of its own', { skip }, async () => {
  const [disk, entropySocket, blockSocket] = ['disk.img', 'entropy.sock', 'block.sock'].map((name) =>
    path.join(folder, name),
  )
  writeFileSync(disk, '')
  truncateSync(disk, DISK_BYTES)
  const entropy = await startDevice(['entropy', '--transport=vfio-user', `--socket-path=${entropySocket}`])
  const block = await startDevice([
    ...['block', '--transport=vfio-user', `--socket-path=${blockSocket}`],
    ...[`--blk-file=${disk}`, '--queues=2', '--serial=outboard-vfio'],
  ])
  const guest = await bootPortGuest({
    folder,
    arguments: ['-smp', '2', ...plugged(entropySocket), ...plugged(blockSocket)],
  })
  try {
    assert.match(await guest.run('cat /sys/class/misc/hw_random/rng_current'), /^virtio_rng/)
    assert.equal(await guest.run('head -c 64 /dev/hwrng | wc -c'), '64')
    assert.equal(await guest.run('cat /sys/block/vda/serial; echo'), 'outboard-vfio')
    assert.equal(await guest.run('cat /sys/block/vda/size'), `${DISK_BYTES / 512}`)
    const sum = await guest.run(
      'dd if=/dev/urandom of=/tmp/data bs=1M count=4 2>/dev/null; dd if=/tmp/data of=/dev/vda bs=64k conv=fsync 2>/dev/null; md5sum < /tmp/data',
    )
    await guest.run('echo 3 > /proc/sys/vm/drop_caches')
    assert.equal(await guest.run('dd if=/dev/vda bs=1M count=4 2>/dev/null | md5sum'), sum)
    const written = createHash('md5').update(readFileSync(disk).subarray(0, 4 << 20))
    assert.equal(`${written.digest('hex')}  -`, sum)
    const interrupts = await guest.run('cat /proc/interrupts')
    for (const queue of ['req.0', 'req.1']) assert.match(interrupts, new RegExp(`PCI-MSIX.*virtio\\d+-${queue}$`, 'm'))
    assert.match(await guest.run('cat /sys/bus/pci/devices/*/vendor'), /0x1af4/)
  } finally {
    await guest.kill()
  }
  for (const device of [entropy, block]) {
    assert.equal(await device.stop(), 0, device.log.join('\n'))
    assert.ok(device.log.some((line) => /the client is gone/.test(line)))
    assert.deepEqual(
      device.log.filter((line) => /refused|needs a reset|warning|error/.test(line)),
      [],
    )
  }
})
