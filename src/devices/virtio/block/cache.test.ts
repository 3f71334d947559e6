import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MemoryDisk } from '../../../backends/disk/memory-disk.ts'
import { Feature, featureSet, hasFeature } from '../../../virtio/feature.ts'
import { activateDevice } from '../../../virtio/testing/device-rig.ts'
import { BlockDevice } from './block.ts'
import { BlkFeature, BlkStatus, BlkType, CONFIG_CAPACITY, CONFIG_SEG_MAX, CONFIG_WRITEBACK } from './protocol.ts'
import { header, segment, status } from './testing/driver-requests.ts'
import { HeldDisk } from './testing/held-disk.ts'

function setUp(...without: readonly number[]) {
  const disk = new HeldDisk(new Uint8Array(64 * 512))
  const device = new BlockDevice(disk)
  const features = (device.features | featureSet(Feature.VERSION_1)) & ~featureSet(...without)
  const rig = activateDevice(device, { features })
  const write = () => rig.submit(0, [header(BlkType.OUT, 0), new Uint8Array(512)], [1])
  return { disk, device, rig, write, writeback: () => device.config.read(CONFIG_WRITEBACK, 1) }
}

test('FLUSH is always offered, and CONFIG_WCE never without it  @virtio 5.2.5.2', () => {
  const { device } = setUp()
  assert.ok(hasFeature(device.features, BlkFeature.CONFIG_WCE))
  assert.ok(hasFeature(device.features, BlkFeature.FLUSH))
  const readOnly = new BlockDevice(new MemoryDisk(new Uint8Array(512), { readOnly: true }))
  assert.ok(hasFeature(readOnly.features, BlkFeature.FLUSH))
})

test('a write in writeback mode completes without a flush  @virtio 5.2.6.2', async () => {
  const { disk, write, writeback } = setUp()
  assert.equal(writeback(), 1)
  const request = write()
  disk.release()
  assert.equal(status(await request.replied), BlkStatus.OK)
  assert.deepEqual(disk.done, ['write'])
})

test('with writeback 0 a write completes after its flush  @virtio 5.2.6.2', async () => {
  const { disk, device, rig, write } = setUp()
  device.config.write(CONFIG_WRITEBACK, 1, 0)
  const request = write()
  disk.release()
  await Promise.resolve()
  assert.equal(request.reply, undefined)
  disk.release()
  assert.equal(status(await request.replied), BlkStatus.OK)
  const zeroes = rig.submit(0, [header(BlkType.WRITE_ZEROES), segment(0, 1), segment(4, 1)], [1])
  for (let i = 0; i < 3; i++) disk.release()
  assert.equal(status(await zeroes.replied), BlkStatus.OK)
  assert.deepEqual(disk.done, ['write', 'flush', 'write zeroes', 'write zeroes', 'flush'])
})

test('a failed flush fails the write that it follows', async () => {
  const { disk, device, write } = setUp()
  device.config.write(CONFIG_WRITEBACK, 1, 0)
  const request = write()
  disk.release()
  disk.fail('no power')
  assert.equal(status(await request.replied), BlkStatus.IOERR)
  assert.equal(device.inspect().lastError, 'no power')
})

test('without FLUSH and CONFIG_WCE every write is stable when it completes  @virtio 5.2.6.2', async () => {
  const { disk, write } = setUp(BlkFeature.FLUSH, BlkFeature.CONFIG_WCE)
  const request = write()
  disk.release()
  disk.release()
  await request.replied
  assert.deepEqual(disk.done, ['write', 'flush'])
})

test('with CONFIG_WCE but not FLUSH the initial mode is writethrough, and writable  @virtio 5.2.5.2', async () => {
  const { disk, device, write, writeback } = setUp(BlkFeature.FLUSH)
  assert.equal(writeback(), 0)
  device.config.write(CONFIG_WRITEBACK, 1, 1)
  const request = write()
  disk.release()
  await request.replied
  assert.deepEqual(disk.done, ['write'])
})

test('with FLUSH but not CONFIG_WCE the mode is writeback, and not writable  @virtio 5.2.6.2', async () => {
  const { disk, device, write, writeback } = setUp(BlkFeature.CONFIG_WCE)
  device.config.write(CONFIG_WRITEBACK, 1, 0)
  assert.equal(writeback(), 1)
  const request = write()
  disk.release()
  await request.replied
  assert.deepEqual(disk.done, ['write'])
})

test('only the cache mode of the configuration is writable  @virtio 5.2.4', () => {
  const { device, writeback } = setUp()
  const before = Array.from({ length: 60 }, (_, i) => device.config.read(i, 1))
  for (let i = 0; i < 60; i += 4) device.config.write(i, 4, 0x0707_0707)
  assert.deepEqual(
    Array.from({ length: 60 }, (_, i) => device.config.read(i, 1)),
    before,
  )
  device.config.write(CONFIG_WRITEBACK, 4, 0)
  assert.equal(writeback(), 0)
  before[CONFIG_WRITEBACK] = 0
  assert.deepEqual(
    Array.from({ length: 60 }, (_, i) => device.config.read(i, 1)),
    before,
  )
})

test('a reset restores the default cache mode, and does not flush  @virtio 5.2.5', async () => {
  const { disk, device, rig, write, writeback } = setUp()
  device.config.write(CONFIG_WRITEBACK, 1, 0)
  device.config.write(CONFIG_WRITEBACK, 1, 1)
  const request = write()
  disk.release()
  await request.replied
  device.config.write(CONFIG_WRITEBACK, 1, 0)
  await rig.reset()
  assert.equal(writeback(), 1)
  assert.deepEqual(disk.done, ['write'])
})

test('every field of the configuration describes the disk  @virtio 5.2.4', () => {
  const device = new BlockDevice(new HeldDisk(new Uint8Array(4 << 20)), { queues: 3 })
  const expected = [
    ...[0, 32, 0, 0, 0, 0, 0, 0], // capacity: 8192 sectors
    ...[0, 0, 0, 0], // size_max, not offered
    ...[254, 0, 0, 0], // seg_max
    ...[8, 0, 16, 63], // cylinders, heads, sectors
    ...[0, 2, 0, 0], // blk_size: 512
    ...[3, 0, 8, 0, 0, 0, 0, 0], // 8 logical blocks a physical one, aligned, at least 8 at once, no optimum
    ...[1, 0, 3, 0], // writeback, unused0, num_queues
    ...[0, 0, 32, 0, 16, 0, 0, 0, 8, 0, 0, 0], // discard: 1 GiB a segment, 16 segments, aligned to 8 sectors
    ...[0, 128, 0, 0, 16, 0, 0, 0, 1, 0, 0, 0], // write zeroes: 16 MiB a segment, 16 segments, may unmap
  ]
  assert.deepEqual(
    Array.from({ length: 60 }, (_, i) => device.config.read(i, 1)),
    expected,
  )
  assert.equal(device.config.read(60, 4), 0)
})

test('after a resize the driver is notified, and the new capacity is the limit  @virtio 5.2.6.2', async () => {
  const { disk, device, rig } = setUp()
  const last = () => rig.submit(0, [header(BlkType.IN, 63)], [512, 1])
  disk.byteLength = 32 * 512
  device.resize()
  assert.equal(rig.configChanges, 1)
  assert.equal(device.config.read(CONFIG_CAPACITY, 4), 32)
  assert.equal(device.config.read(CONFIG_SEG_MAX, 4), 254)
  assert.equal(status(last().reply), BlkStatus.IOERR)
  disk.byteLength = 64 * 512
  device.resize()
  assert.equal(rig.configChanges, 2)
  const request = last()
  disk.release()
  assert.equal(status(await request.replied), BlkStatus.OK)
})
