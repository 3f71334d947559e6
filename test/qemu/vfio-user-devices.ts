import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync, truncateSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { vfioUserArguments } from '../../src/engines/qemu/arguments.ts'
import { type RunningDevice, startDevice } from './device-program.ts'
import type { PortGuest } from './port-guest.ts'

const DISK_BYTES = 16 << 20

/** Disk and entropy device, each in a process with vfio-user. */
export interface VfioUserDevices {
  readonly processes: readonly RunningDevice[]
  /** QEMU's arguments for both. */
  readonly arguments: readonly string[]
  /** Uses both in a guest, and compares its writes with the image. */
  check(guest: PortGuest): Promise<void>
}

/** @param blockOptions further options of the disk process */
export async function startVfioUserDevices(
  folder: string,
  blockOptions: readonly string[] = [],
): Promise<VfioUserDevices> {
  const [disk, entropySocket, blockSocket] = ['disk.img', 'entropy.sock', 'block.sock'].map((name) =>
    path.join(folder, name),
  )
  writeFileSync(disk, '')
  truncateSync(disk, DISK_BYTES)
  const processes = [
    await startDevice(['entropy', '--transport=vfio-user', `--socket-path=${entropySocket}`]),
    await startDevice([
      ...['block', '--transport=vfio-user', `--socket-path=${blockSocket}`],
      ...[`--blk-file=${disk}`, '--serial=outboard-vfio', ...blockOptions],
    ]),
  ]
  return {
    processes,
    arguments: [entropySocket, blockSocket].flatMap((socket) => vfioUserArguments(socket)),
    async check(guest) {
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
    },
  }
}
