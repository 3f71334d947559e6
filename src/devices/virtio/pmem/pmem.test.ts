import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Pending } from '../../../pending/pending.ts'
import type { PersistentFile } from '../../../services/persistent-file.ts'
import { DeviceId } from '../../../virtio/device-id.ts'
import { Feature, featureSet } from '../../../virtio/feature.ts'
import { activateDevice } from '../../../virtio/testing/device-rig.ts'
import { PmemDevice } from './pmem.ts'

const FLUSH = [0, 0, 0, 0]
const OK = [0, 0, 0, 0]
const FAILED = [255, 255, 255, 255]

/** File whose flushes the test ends. */
class TestFile implements PersistentFile {
  readonly size = 4 << 20
  readonly backing = { fd: 7, offset: 0 }
  readonly flushes: ((durable: boolean) => void)[] = []

  flush(done: (durable: boolean) => void): void {
    this.flushes.push(done)
  }

  inspect(): Record<string, unknown> {
    return {}
  }
}

function pmem() {
  const file = new TestFile()
  const device = new PmemDevice(file)
  return { file, device, rig: activateDevice(device) }
}

test('the file is shared memory region 0, which the device never maps  @virtio 5.19.5.1', () => {
  const { device, file } = pmem()
  assert.equal(device.id, DeviceId.PMEM)
  assert.equal(device.features, 1n)
  assert.deepEqual(device.sharedMemory, [{ id: 0, size: 4 << 20, file: file.backing }])
  assert.deepEqual(device.config.copy(), new Uint8Array(16))
})

test('a flush is answered when the file is durable, and not before  @virtio 5.19.7.1', async () => {
  const { rig, file } = pmem()
  const request = rig.submit(0, [FLUSH], [4])
  assert.equal(request.reply, undefined)
  file.flushes[0](true)
  const { bytes, written } = await request.replied
  assert.deepEqual([[...bytes], written], [OK, 4])
})

test('requests that arrive during a flush wait for one of their own, which they share  @virtio 5.19.7.1', async () => {
  const { rig, file, device } = pmem()
  const requests = [rig.submit(0, [FLUSH], [4]), rig.submit(0, [FLUSH], [4]), rig.submit(0, [FLUSH], [4])]
  assert.equal(file.flushes.length, 1)
  file.flushes[0](true)
  await requests[0].replied
  assert.equal(requests[1].reply, undefined)
  assert.equal(file.flushes.length, 2)
  file.flushes[1](true)
  await Promise.all([requests[1].replied, requests[2].replied])
  assert.equal(device.inspect()['flushes'], 2)
})

test('a failed flush is answered with -1  @virtio 5.19.7.3', async () => {
  const { rig, file } = pmem()
  const request = rig.submit(0, [FLUSH], [4])
  file.flushes[0](false)
  assert.deepEqual([...(await request.replied).bytes], FAILED)
})

test('requests of other types fail, and those without room for a result are returned with length 0', () => {
  const { rig, device, file } = pmem()
  assert.deepEqual([...rig.send(0, [[1, 0, 0, 0]], [4]).bytes], FAILED)
  assert.deepEqual([...rig.send(0, [[0, 0, 0]], [4]).bytes], FAILED)
  assert.equal(rig.send(0, [FLUSH], [3]).written, 0)
  assert.equal(rig.send(0, [FLUSH]).written, 0)
  assert.equal(device.inspect()['invalid'], 4)
  assert.equal(file.flushes.length, 0)
})

test('a queue stops when the flushes of all its requests ended', () => {
  const { rig, device, file } = pmem()
  rig.submit(0, [FLUSH], [4])
  rig.submit(0, [FLUSH], [4])
  const stopped = device.stopQueue()
  assert.ok(stopped instanceof Pending)
  let done = false
  stopped.onFinish(() => {
    done = true
  })
  file.flushes[0](true)
  assert.equal(done, false)
  file.flushes[1](true)
  assert.equal(done, true)
  assert.equal(device.stopQueue(), undefined)
})

test('a driver that does not support shared memory regions is refused with the reason', () => {
  const rig = activateDevice(new PmemDevice(new TestFile()), { features: featureSet(Feature.VERSION_1) })
  assert.match(rig.failures[0], /SHMEM_REGION: Linux 6\.12 does/)
})

test('a state of a file with another size is refused', () => {
  const { device } = pmem()
  device.restore(device.save())
  assert.throws(() => device.restore({ version: 1, size: 2 << 20 }), { name: 'SnapshotError' })
})
