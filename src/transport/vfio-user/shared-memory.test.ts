import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ffiMissing } from '../../host/linux/ffi.ts'
import { Mapping } from '../../host/linux/mapping.ts'
import { MemoryFile } from '../../host/linux/memory-file.ts'
import { MemoryRegion } from '../../memory/memory-region.ts'
import { EchoDevice } from '../../virtio/testing/echo-device.ts'
import { openDescriptors } from '../socket/testing/open-descriptors.ts'
import { sparseAreas } from './messages.ts'
import { RegionFlag } from './protocol.ts'
import { echoRig } from './testing/echo-rig.ts'

const skip = ffiMissing() ?? false
const { READ, WRITE, MMAP, CAPS } = RegionFlag
const SHARED = 2

function request(argsz: number) {
  return { argsz, flags: 0, index: SHARED, capOffset: 0, size: 0, offset: 0, bytes: new Uint8Array(0) }
}

test('the client maps memory that a device shares, and both see each other’s writes', { skip }, async () => {
  const size = 1 << 18
  const ours = Mapping.of(MemoryFile.create('shared memory', size).descriptor, { offset: 0, length: size })
  const before = openDescriptors()
  const rig = echoRig(new EchoDevice({ sharedMemory: [{ id: 0, memory: ours.regions(0)[0] }] }))
  rig.greet()
  const { value, descriptors } = rig.client.ask('DEVICE_GET_REGION_INFO', request(32))
  assert.deepEqual([value.flags, value.size, value.offset, value.argsz], [READ | WRITE | MMAP, size, 0, 32])
  const theirs = Mapping.of(descriptors[0], { offset: value.offset, length: value.size })
  ours.bytes[1234] = 7
  assert.equal(theirs.bytes[1234], 7)
  theirs.bytes[5] = 9
  assert.deepEqual(
    [...rig.client.ask('REGION_READ', { region: SHARED, offset: 4, count: 4 }).value.bytes],
    [0, 9, 0, 0],
  )
  theirs.close()
  await rig.close()
  assert.equal(openDescriptors(), before)
  ours.close()
})

test('parts of a region that can be mapped are listed, if argsz has room  @vfio-user DEVICE_GET_REGION_INFO', {
  skip,
}, async () => {
  const size = 0x3_0000
  const mapping = Mapping.of(MemoryFile.create('shared memory', size).descriptor, { offset: 0, length: size })
  const sharedMemory = [
    { id: 0, memory: mapping.regions(0, 0, 0x1_8000)[0] },
    { id: 1, memory: mapping.regions(0, 0x2_0000, 0x1000)[0] },
    { id: 2, memory: MemoryRegion.over(0, new Uint8Array(4096)) },
  ]
  const rig = echoRig(new EchoDevice({ sharedMemory }))
  rig.greet()
  const short = rig.client.ask('DEVICE_GET_REGION_INFO', request(32))
  assert.deepEqual([short.value.flags, short.value.argsz, short.value.capOffset], [READ | WRITE | MMAP, 80, 0])
  assert.deepEqual([short.value.bytes.length, short.descriptors.length], [0, 1])
  const whole = rig.client.ask('DEVICE_GET_REGION_INFO', request(80))
  assert.deepEqual([whole.value.flags, whole.value.argsz, whole.value.capOffset], [READ | WRITE | MMAP | CAPS, 80, 32])
  assert.deepEqual(sparseAreas.parse(whole.value.bytes), {
    id: 1,
    version: 1,
    next: 0,
    areas: 2,
    reserved: 0,
    elements: [
      { offset: 0, size: 0x1_8000 },
      { offset: 0x2_0000, size: 0x1000 },
    ],
  })
  for (const { descriptors } of [short, whole]) for (const descriptor of descriptors) descriptor.close()
  await rig.close()
  mapping.close()
})

test('a region of which only the file is known is mapped by the client, and reads as ones elsewhere', {
  skip,
}, async () => {
  const size = 1 << 16
  const file = MemoryFile.create('shared memory', 2 * size)
  const place = { fd: file.descriptor.fd, offset: size }
  const rig = echoRig(new EchoDevice({ sharedMemory: [{ id: 0, size, file: place }] }))
  rig.greet()
  const { value, descriptors } = rig.client.ask('DEVICE_GET_REGION_INFO', request(32))
  assert.deepEqual([value.flags, value.size, value.offset], [READ | WRITE | MMAP, size, size])
  const theirs = Mapping.of(descriptors[0], { offset: value.offset, length: value.size })
  theirs.bytes[5] = 9
  rig.client.ask('REGION_WRITE', { region: SHARED, offset: 5, count: 1, bytes: Uint8Array.of(7) })
  assert.equal(theirs.bytes[5], 9)
  assert.deepEqual([...rig.client.ask('REGION_READ', { region: SHARED, offset: 4, count: 2 }).value.bytes], [255, 255])
  theirs.close()
  await rig.close()
  file.close()
})

test('a window is not shown, because a BAR is one file, and the log says so', { skip }, async () => {
  const rig = echoRig(new EchoDevice({ sharedMemory: [{ id: 0, size: 1 << 16, window: true }] }))
  rig.greet()
  assert.equal(rig.client.ask('DEVICE_GET_REGION_INFO', request(32)).value.size, 0)
  assert.ok(rig.logged.includes('echo: no windows: this bus cannot map files into a BAR'))
  await rig.close()
})
