import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Feature, featureSet, hasFeature } from '../../../virtio/feature.ts'
import { activateDevice } from '../../../virtio/testing/device-rig.ts'
import { BlockDevice } from './block.ts'
import { BlkFeature, BlkStatus, BlkType, CONFIG_NUM_QUEUES } from './protocol.ts'
import { header, pattern, segment, status } from './testing/driver-requests.ts'
import { HeldDisk } from './testing/held-disk.ts'

function setUp(queues = 1) {
  const disk = new HeldDisk(pattern(64 * 512, 2))
  const device = new BlockDevice(disk, { queues })
  const rig = activateDevice(device)
  const read = (sector: number, queue = 0) => rig.submit(queue, [header(BlkType.IN, sector)], [512, 1])
  return { disk, device, rig, read }
}

test('requests are returned in the order in which the disk completes them  @virtio 5.2', async () => {
  const { disk, read } = setUp()
  const requests = [read(0), read(1), read(2)]
  disk.release(1)
  await requests[1].replied
  assert.deepEqual(requests[1].reply?.parts[0], disk.bytes.slice(512, 1024))
  assert.equal(requests[0].reply, undefined)
  disk.release(1)
  await requests[2].replied
  disk.release(0)
  const reply = await requests[0].replied
  assert.deepEqual(reply.parts[0], disk.bytes.slice(0, 512))
})

test('requests that complete in one turn cause one interrupt', async () => {
  const { disk, rig, read } = setUp()
  const requests = [read(0), read(1), read(2), read(3)]
  const before = rig.rigs[0].interrupts
  for (let i = 0; i < 3; i++) disk.release()
  await Promise.all(requests.slice(0, 3).map((request) => request.replied))
  assert.equal(rig.rigs[0].interrupts, before + 1)
  disk.release()
  await requests[3].replied
  assert.equal(rig.rigs[0].interrupts, before + 2)
})

test('requests that complete within one notification cause one interrupt', () => {
  const { rig } = setUp()
  const requests = [1, 2, 3].map(() => rig.rigs[0].add([header(BlkType.GET_ID)], [20, 1]))
  rig.kick(0)
  assert.ok(requests.every((request) => status(request.reply) === BlkStatus.OK))
  assert.equal(rig.rigs[0].interrupts, 1)
})

test('a failure of the disk is IOERR, with its reason in inspect  @virtio 5.2.6', async () => {
  const { disk, device, read } = setUp()
  const request = read(0)
  disk.fail('read at 0: EIO')
  const reply = await request.replied
  assert.equal(status(reply), BlkStatus.IOERR)
  assert.equal(reply.written, 0)
  assert.equal(device.inspect().lastError, 'read at 0: EIO')
  assert.equal(device.counters.errors, 1)
  assert.equal(device.counters.reads, 0)
})

test('segments are executed in sequence, up to the first failure', async () => {
  const { disk, rig, read } = setUp()
  const before = disk.bytes.slice()
  const zeroes = rig.submit(0, [header(BlkType.WRITE_ZEROES), segment(0, 1), segment(2, 1), segment(4, 1)], [1])
  assert.deepEqual([disk.held.length, disk.held[0].offset, disk.held[0].length], [1, 0, 512])
  disk.release()
  assert.deepEqual([disk.held.length, disk.held[0].offset], [1, 1024])
  disk.fail('worn out')
  assert.equal(status(await zeroes.replied), BlkStatus.IOERR)
  assert.deepEqual(disk.bytes, before.fill(0, 0, 512))
  // The reused request object has no segment of the failed request.
  const next = read(8)
  disk.release()
  assert.equal(status(await next.replied), BlkStatus.OK)
  assert.equal(disk.held.length, 0)
})

test('a second completion of a request is ignored', async () => {
  const { disk, rig, read } = setUp()
  const request = read(0)
  const [held] = disk.held
  disk.release()
  held.complete()
  held.complete('again')
  await request.replied
  assert.equal(rig.rigs[0].queue.counters.pushed, 1)
  assert.equal(rig.rigs[0].queue.counters.invalidPushes, 0)
})

test('a disk that throws fails the request, and the next is served', () => {
  const { disk, device, rig } = setUp()
  disk.submit = () => {
    throw new Error('out of order')
  }
  const request = rig.submit(0, [header(BlkType.IN)], [512, 1])
  assert.equal(status(request.reply), BlkStatus.IOERR)
  assert.equal(device.inspect().lastError, 'read: out of order')
  assert.equal(device.stopQueue(0), undefined)
})

test('a reset waits for requests in flight, and starts no more  @virtio 2.4', async () => {
  const { disk, device, rig, read } = setUp()
  const requests = [read(0), rig.submit(0, [header(BlkType.DISCARD), segment(0, 1), segment(1, 1)], [1])]
  let done = false
  const reset = rig.reset().then(() => {
    done = true
  })
  rig.rigs[0].add([header(BlkType.IN)], [512, 1])
  rig.kick(0)
  device.notify(0)
  disk.release(1)
  disk.release(1)
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(done, false)
  assert.equal(disk.held.length, 1)
  disk.release()
  await reset
  assert.ok(requests.every((request) => status(request.reply) === BlkStatus.OK))
  assert.equal(disk.held.length, 0)
  assert.equal(device.inspect().inFlight, 0)
})

test('without requests in flight a reset completes at once, and the next driver is served', () => {
  const { disk, device, read } = setUp()
  read(0)
  disk.release()
  assert.equal(device.stopQueue(0), undefined)
  device.reset()
  const rig = activateDevice(device)
  const reply = rig.submit(0, [header(BlkType.GET_ID)], [20, 1])
  assert.equal(status(reply.reply), BlkStatus.OK)
})

test('queues are independent: one is reset while the other is in use  @virtio 2.6.1', async () => {
  const { disk, device, read } = setUp(2)
  assert.ok(hasFeature(device.features, BlkFeature.MQ))
  assert.equal(device.config.read(CONFIG_NUM_QUEUES, 2), 2)
  const first = read(0, 0)
  const second = read(1, 1)
  assert.equal(device.inspect().inFlight, 2)
  const wait = device.stopQueue(0)
  assert.ok(wait)
  disk.release(0)
  await wait
  assert.equal(status(first.reply), BlkStatus.OK)
  assert.equal(second.reply, undefined)
  assert.equal(device.stopQueue(0), undefined)
  disk.release()
  assert.equal(status(await second.replied), BlkStatus.OK)
})

test('a device with one queue does not offer MQ  @virtio 5.2.3', () => {
  const { device } = setUp()
  assert.deepEqual(device.queueSizes, [256])
  assert.ok(!hasFeature(device.features, BlkFeature.MQ))
})

test('a full ring of requests can be in flight, in packed rings too', async () => {
  const disk = new HeldDisk(pattern(64 * 512, 3))
  const device = new BlockDevice(disk)
  const features = device.features | featureSet(Feature.VERSION_1, Feature.INDIRECT_DESC, Feature.RING_PACKED)
  const rig = activateDevice(device, { features })
  const requests = Array.from({ length: 256 }, (_, i) =>
    rig.rigs[0].add([header(BlkType.IN, i % 64)], [512, 1], 'indirect'),
  )
  rig.kick(0)
  assert.equal(disk.held.length, 256)
  while (disk.held.length > 0) disk.release(disk.held.length >> 1)
  for (const [i, request] of requests.entries()) {
    const reply = await request.replied
    const start = (i % 64) * 512
    assert.deepEqual(reply.parts[0], disk.bytes.slice(start, start + 512))
  }
})
