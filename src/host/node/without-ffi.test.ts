import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { FileDisk } from '../../backends/disk/file-disk.ts'
import { BlockDevice } from '../../devices/virtio/block/block.ts'
import { BlkFeature, BlkStatus, BlkType } from '../../devices/virtio/block/protocol.ts'
import { header, pattern, segment, status } from '../../devices/virtio/block/testing/driver-requests.ts'
import { hasFeature } from '../../virtio/feature.ts'
import { activateDevice } from '../../virtio/testing/device-rig.ts'
import { Scratch } from './testing/scratch.ts'

// The tests of this file run in their own process, which reports another platform.
Object.defineProperty(process, 'platform', { value: 'elsewhere' })
const scratch = new Scratch()

test('without system calls, a disk works without locks and discards, and reports that', async () => {
  const path = scratch.image(pattern(1 << 20, 1))
  const lines: string[] = []
  const disk = FileDisk.open(path, { log: (line) => lines.push(line) })
  const device = new BlockDevice(disk)
  assert.ok(!hasFeature(device.features, BlkFeature.DISCARD))
  const rig = activateDevice(device)
  const expected = pattern(1 << 20, 1)
  expected.set(pattern(1024, 2), 512)
  expected.fill(0, 4 * 512, 304 * 512)
  assert.equal(status(await rig.request(0, [header(BlkType.OUT, 1), pattern(1024, 2)], [1])), BlkStatus.OK)
  for (const flags of [0, 1]) {
    const zeroes = segment(4 + flags * 150, 150, flags)
    assert.equal(status(await rig.request(0, [header(BlkType.WRITE_ZEROES), zeroes], [1])), BlkStatus.OK)
  }
  assert.equal(status(await rig.request(0, [header(BlkType.FLUSH)], [1])), BlkStatus.OK)
  await disk.close()
  assert.deepEqual(new Uint8Array(readFileSync(path)), expected)
  assert.deepEqual(lines, [`${path}: not locked, and discards have no effect: this is elsewhere, not Linux`])
})
