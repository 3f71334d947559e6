import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { after, test } from 'node:test'
import { isTmpfs } from '../../src/host/node/testing/scratch.ts'
import { scratchFolder, startDevice } from './device-program.ts'
import { bootDiskGuest } from './disk-guest.ts'
import { qemuMissing } from './guest.ts'

const MIB = 1 << 20
const folder = scratchFolder()
// In memory: the file system reports no alignment for direct I/O, and blocks of 4096 bytes are sufficient for all.
const images = mkdtempSync(path.join(isTmpfs('/dev/shm') ? '/dev/shm' : folder, 'outboard-direct-'))
after(() => rmSync(images, { recursive: true }))

/** Disk with one Linux partition from block 8 on, in blocks of a given size. */
function partitioned(blockSize: number): string {
  const file = path.join(images, `${blockSize}.img`)
  const disk = new Uint8Array(8 * MIB)
  const view = new DataView(disk.buffer)
  view.setUint8(446 + 4, 0x83)
  view.setUint32(446 + 8, 8, true)
  view.setUint32(446 + 12, (4 * MIB) / blockSize, true)
  view.setUint16(510, 0xaa55, true)
  disk.fill(0x6f, 8 * blockSize, 9 * blockSize)
  writeFileSync(file, disk)
  return file
}

for (const blockSize of [512, 4096]) {
  test(`a guest finds the partitions of a disk of ${blockSize}-byte blocks, with any alignment of direct I/O`, {
    skip: qemuMissing ?? false,
  }, async () => {
    const socket = path.join(folder, `${blockSize}.sock`)
    const image = partitioned(blockSize)
    const device = await startDevice([
      ...['block', `--socket-path=${socket}`, `--blk-file=${image}`, '--direct', `--logical-block-size=${blockSize}`],
    ])
    const guest = await bootDiskGuest({ socket, folder })
    try {
      const sizes = await guest.run('cd /sys/block/vda; cat queue/logical_block_size vda1/start vda1/size')
      const sectors = blockSize / 512
      assert.deepEqual(sizes.split('\n').map(Number), [blockSize, 8 * sectors, (4 * MIB) / 512])
      assert.equal(await guest.run(`head -c ${blockSize} /dev/vda1 | tr -d o | wc -c`), '0')
      // A request of one block, which may be too small for direct I/O.
      const block = `bs=${blockSize} count=1 2>/dev/null`
      await guest.run(
        `dd if=/dev/vda1 of=/tmp/b iflag=direct ${block}; dd if=/tmp/b of=/dev/vda1 oflag=direct seek=1 ${block}`,
      )
      assert.equal(await guest.run(`head -c ${2 * blockSize} /dev/vda1 | tr -d o | wc -c`), '0')
    } finally {
      await guest.kill()
      await device.stop()
    }
  })
}
