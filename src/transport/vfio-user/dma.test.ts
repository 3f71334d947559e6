import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Errno } from '../../host/linux/errno.ts'
import { ffiMissing } from '../../host/linux/ffi.ts'
import { GuestMemory } from '../../memory/guest-memory.ts'
import { EchoDevice } from '../../virtio/testing/echo-device.ts'
import { openDescriptors } from '../socket/testing/open-descriptors.ts'
import { DmaLog } from './dma-log.ts'
import { loggingReport, loggingStart } from './messages.ts'
import { DeviceFeature, FeatureFlag, MAX_MAPS, UNMAP_ALL } from './protocol.ts'
import { echoRig } from './testing/echo-rig.ts'
import { MEMORY_BYTES, type VfioUserRig } from './testing/vfio-user-rig.ts'

const skip = ffiMissing() ?? false
const { EEXIST, EINVAL, ENOENT, ENOSPC, EOPNOTSUPP } = Errno
const NOTHING = new Uint8Array(0)
const map = { argsz: 32, flags: 3, offset: 0, address: 0x10_0000, size: 0x1000 }
const unmap = { argsz: 24, flags: 0, address: 0x10_0000, size: 0x1000 }

test('DMA_MAP refuses overlapping ranges, partial pages, and files that are too short  @vfio-user DMA_MAP', {
  skip,
}, async () => {
  const rig = echoRig()
  const { client } = rig
  rig.greet()
  const file = [rig.file.descriptor]
  const before = openDescriptors()
  for (const [part, errno] of [
    [{ size: 0 }, EINVAL],
    [{ size: 4095 }, EINVAL],
    [{ address: 8 }, EINVAL],
    [{ offset: 2 }, EINVAL],
    [{ flags: 7 }, EINVAL],
    [{ offset: MEMORY_BYTES }, EINVAL],
    [{ size: MEMORY_BYTES + 4096 }, EINVAL],
    [{ size: 2 ** 43 }, ENOSPC],
    [{ address: 2 ** 53, size: 4096 }, EINVAL],
    [{ offset: 2 ** 53 }, EINVAL],
  ] as const) {
    assert.equal(client.refusal('DMA_MAP', { ...map, ...part }, file), errno, JSON.stringify(part))
  }
  assert.equal(openDescriptors(), before)
  client.ask('DMA_MAP', map, file)
  for (const part of [{}, { size: 0x2000 }, { address: 0xf_f000, size: 0x2000 }]) {
    assert.equal(client.refusal('DMA_MAP', { ...map, ...part }, file), EEXIST)
  }
  client.ask('DMA_MAP', { ...map, address: 0x10_1000 }, file)
  client.ask('DMA_MAP', { ...map, address: 0xf_f000 })
  assert.equal(client.refusal('DMA_MAP', { ...map, address: 0xf_f000 }), EEXIST, 'also without a file')
  await rig.close()
})

test('DMA_UNMAP removes whole mapped ranges only  @vfio-user DMA_UNMAP', { skip }, async () => {
  const rig = echoRig()
  const { client } = rig
  rig.greet()
  client.ask('DMA_MAP', { ...map, size: 0x2000 }, [rig.file.descriptor])
  client.ask('DMA_MAP', { ...map, address: 0x20_0000 })
  for (const [part, errno] of [
    [{ argsz: 23 }, EINVAL],
    [{ flags: 1 }, EINVAL],
    [{ flags: 4 }, EINVAL],
    [{ flags: UNMAP_ALL }, EINVAL],
    [{ flags: UNMAP_ALL | 1, address: 0, size: 0 }, EINVAL],
    [{ address: 0x30_0000 }, ENOENT],
    [{ size: 0 }, ENOENT],
    [{}, EINVAL],
    [{ address: 0x10_1000 }, EINVAL],
  ] as const) {
    assert.equal(client.refusal('DMA_UNMAP', { ...unmap, ...part }), errno, JSON.stringify(part))
  }
  assert.deepEqual(client.ask('DMA_UNMAP', { ...unmap, size: 0x2000 }).value, { ...unmap, size: 0x2000 })
  assert.equal(client.refusal('DMA_UNMAP', { ...unmap, size: 0x2000 }), ENOENT)
  client.ask('DMA_UNMAP', { ...unmap, address: 0x20_0000 })
  await rig.close()
})

test('the number of ranges is limited, and UNMAP_ALL removes them all', { skip }, async () => {
  const rig = echoRig()
  const { client } = rig
  rig.greet()
  for (let i = 0; i < MAX_MAPS; i++) client.ask('DMA_MAP', { ...map, address: i * 0x1000 })
  assert.equal(client.refusal('DMA_MAP', { ...map, address: MAX_MAPS * 0x1000 }), ENOSPC)
  client.ask('DMA_UNMAP', { argsz: 24, flags: UNMAP_ALL, address: 0, size: 0 })
  client.ask('DMA_MAP', map)
  await rig.close()
})

test('a file is mapped once for all its ranges, with one descriptor', { skip }, async () => {
  const rig = echoRig()
  rig.greet()
  const before = openDescriptors()
  for (let i = 0; i < 256; i++) rig.map(i * 0x1000, 0x1000)
  assert.equal(openDescriptors(), before + 1)
  for (let round = 0; round < 1000; round++) {
    rig.unmap(0, 0x1000)
    rig.map(0, 0x1000)
  }
  assert.equal(openDescriptors(), before + 1)
  rig.client.ask('DMA_UNMAP', { argsz: 24, flags: UNMAP_ALL, address: 0, size: 0 })
  assert.equal(openDescriptors(), before)
  await rig.close()
})

test('rings continue at their positions when their memory is mapped again in other ranges', { skip }, async () => {
  const rig = echoRig()
  await rig.start()
  const half = MEMORY_BYTES / 2
  for (let i = 0; i < 20; i++) {
    assert.deepEqual(rig.echo(i % 2, [i]), [i])
    rig.unmap(0, MEMORY_BYTES)
    rig.map(0, half)
    rig.map(half, half)
    assert.deepEqual(rig.echo(i % 2, [i, i]), [i, i])
    rig.client.ask('DMA_UNMAP', { argsz: 24, flags: UNMAP_ALL, address: 0, size: 0 })
    rig.map()
  }
  assert.deepEqual(
    rig.logged.filter((line) => /refused|reset/.test(line)),
    [],
  )
  await rig.close()
})

test('DMA_UNMAP is answered when the requests in flight are complete  @vfio-user DMA_UNMAP', { skip }, async () => {
  const device = new EchoDevice({ slow: true })
  const rig = echoRig(device)
  await rig.start()
  const at = rig.send(0, [7])
  rig.client.send('DMA_UNMAP', { argsz: 24, flags: 0, address: 0, size: MEMORY_BYTES })
  assert.equal(rig.client.next(), undefined)
  device.answer()
  await rig.reactor.idle()
  assert.equal(rig.client.next()?.command, 3)
  assert.equal(rig.region.u8[at], 7, 'the request in flight reached memory')
  rig.map()
  rig.send(0, [8])
  device.answer()
  assert.equal(rig.driver.queues[0].collect(), true)
  await rig.close()
})

test('a client that disconnects while its DMA_UNMAP waits leaks no resources', { skip }, async () => {
  const before = openDescriptors()
  const device = new EchoDevice({ slow: true })
  const rig = echoRig(device)
  await rig.start()
  rig.send(0, [7])
  rig.client.send('DMA_UNMAP', { argsz: 24, flags: 0, address: 0, size: MEMORY_BYTES })
  rig.client.close()
  await new Promise((resolve) => setImmediate(resolve))
  device.answer()
  await rig.reactor.idle()
  assert.equal(rig.closed, true)
  assert.equal(device.session, undefined)
  await rig.close()
  assert.equal(openDescriptors(), before)
})

test('a range without the WRITE flag is not written', { skip }, async () => {
  const rig = echoRig()
  await rig.start()
  const page = 0x8_0000
  rig.unmap()
  rig.map(0, page)
  rig.map(page, 0x1000, 1)
  rig.region.u8.set([1, 2, 3, 4], page)
  const queue = rig.driver.queues[0]
  const parts = [{ address: page, length: 4 }]
  queue.add(parts, [{ address: page + 4, length: 4 }])
  queue.kick()
  rig.driver.notify(0)
  assert.equal(queue.collect(), true)
  assert.deepEqual([...rig.region.u8.slice(page, page + 8)], [1, 2, 3, 4, 0, 0, 0, 0])
  await rig.close()
})

test('if some memory is shared, using unshared memory fails the device, and the fix is logged', {
  skip,
}, async () => {
  const rig = echoRig()
  const driver = rig.plug()
  rig.unmap()
  rig.client.ask('DMA_MAP', { ...map, address: 0, size: MEMORY_BYTES })
  rig.client.ask('DMA_MAP', { ...map, address: MEMORY_BYTES }, [rig.file.descriptor])
  await driver.start()
  assert.equal(driver.get('device_status') & 0x40, 0x40, 'DEVICE_NEEDS_RESET')
  assert.equal(
    rig.logged.filter((line) => /does not share\. fix: share it/.test(line)).length,
    1,
    rig.logged.join('\n'),
  )
  rig.unmap()
  rig.map()
  await driver.start()
  assert.deepEqual(rig.echo(0, [1]), [1])
  await rig.close()
})

test('if the client unmapped all memory, as QEMU behind an IOMMU, the cause is logged', { skip }, async () => {
  const rig = echoRig()
  const driver = rig.plug()
  rig.unmap()
  await driver.start()
  assert.equal(driver.get('device_status') & 0x40, 0x40, 'DEVICE_NEEDS_RESET')
  assert.equal(rig.logged.filter((line) => /behind an IOMMU/.test(line)).length, 1, rig.logged.join('\n'))
  rig.map()
  await driver.start()
  assert.deepEqual(rig.echo(0, [1]), [1])
  await rig.close()
})

/** Returns a DEVICE_FEATURE request. */
function feature(flags: number, bytes: Uint8Array = NOTHING, argsz = 8 + bytes.length) {
  return { argsz, flags, bytes }
}

function dirty(rig: VfioUserRig, address: number, length: number, pageSize: number): number[] {
  const bytes = loggingReport.write({ address, length, pageSize, bytes: NOTHING })
  const flags = DeviceFeature.DMA_LOGGING_REPORT | FeatureFlag.GET
  const { value } = rig.client.ask('DEVICE_FEATURE', feature(flags, bytes, 4096))
  assert.equal(value.argsz, 8 + value.bytes.length)
  const report = loggingReport.parse(value.bytes)
  assert.deepEqual([report.address, report.length, report.pageSize], [address, length, pageSize])
  return [...report.bytes].flatMap((byte, i) =>
    [0, 1, 2, 3, 4, 5, 6, 7].filter((bit) => byte & (1 << bit)).map((bit) => 8 * i + bit),
  )
}

test('pages that a device wrote are reported once  @vfio-user DMA_LOGGING_REPORT', { skip }, async () => {
  const rig = echoRig()
  await rig.start()
  const start = loggingStart.write({
    pageSize: 4096,
    ranges: 1,
    reserved: 0,
    elements: [{ address: 0, length: MEMORY_BYTES }],
  })
  const started = rig.client.ask('DEVICE_FEATURE', feature(DeviceFeature.DMA_LOGGING_START | FeatureFlag.SET, start))
  assert.deepEqual(started.value.bytes, start)
  assert.deepEqual(dirty(rig, 0, MEMORY_BYTES, 4096), [])
  const at = rig.send(0, [1])
  const pages = dirty(rig, 0, MEMORY_BYTES, 4096)
  assert.ok(pages.includes(Math.floor(at / 4096)), `${pages}`)
  assert.deepEqual(dirty(rig, 0, MEMORY_BYTES, 4096), [])
  rig.driver.queues[0].collect()
  rig.driver.queues[0].enableInterrupts()
  rig.echo(0, [2])
  assert.deepEqual(dirty(rig, 0, MEMORY_BYTES, MEMORY_BYTES), [0])
  rig.client.ask('DEVICE_FEATURE', feature(DeviceFeature.DMA_LOGGING_STOP | FeatureFlag.SET))
  const report = loggingReport.write({ address: 0, length: 4096, pageSize: 4096, bytes: NOTHING })
  const flags = DeviceFeature.DMA_LOGGING_REPORT | FeatureFlag.GET
  assert.equal(rig.client.refusal('DEVICE_FEATURE', feature(flags, report, 4096)), EINVAL, 'logging is not active')
  await rig.close()
})

const startOf = (pageSize: number) => loggingStart.write({ pageSize, ranges: 0, reserved: 0, elements: [] })

test('unknown device features are refused, and known ones can be probed  @vfio-user DEVICE_FEATURE', {
  skip,
}, async () => {
  const rig = echoRig()
  rig.greet()
  const { GET, SET, PROBE } = FeatureFlag
  const { DMA_LOGGING_START, DMA_LOGGING_STOP, DMA_LOGGING_REPORT } = DeviceFeature
  for (const probe of [DMA_LOGGING_START | SET, DMA_LOGGING_STOP | SET, DMA_LOGGING_REPORT | GET, DMA_LOGGING_STOP]) {
    rig.client.ask('DEVICE_FEATURE', feature(probe | PROBE))
  }
  // Features of migration.
  for (const flags of [1 | GET, 2 | GET, 2 | SET, 1 | PROBE, 0xffff | GET]) {
    assert.equal(rig.client.refusal('DEVICE_FEATURE', feature(flags)), EOPNOTSUPP)
  }
  const start = startOf(4096)
  for (const request of [
    feature(DMA_LOGGING_START | GET, start),
    feature(DMA_LOGGING_START | GET | PROBE),
    feature(DMA_LOGGING_START, start),
    feature(DMA_LOGGING_START | SET, startOf(0)),
    feature(DMA_LOGGING_START | SET, startOf(3000)),
    feature(DMA_LOGGING_START | SET, start.subarray(0, 12)),
    feature(DMA_LOGGING_START | SET, start, 7),
  ]) {
    assert.equal(rig.client.refusal('DEVICE_FEATURE', request), EINVAL)
  }
  rig.client.ask('DEVICE_FEATURE', feature(DMA_LOGGING_START | SET, start))
  for (const [address, length, pageSize, argsz] of [
    [0, 0, 4096, 4096],
    [0, 4096, 0, 4096],
    [0, 4096, 4095, 4096],
    [0, 2 ** 40, 4096, 2 ** 31],
    [0, 2 ** 60, 2 ** 50, 4096],
    [0, MEMORY_BYTES, 4096, 40],
  ]) {
    const bytes = loggingReport.write({ address, length, pageSize, bytes: NOTHING })
    assert.equal(rig.client.refusal('DEVICE_FEATURE', feature(DMA_LOGGING_REPORT | GET, bytes, argsz)), EINVAL)
  }
  await rig.close()
})

test('a report with another page size covers every written page', { skip }, () => {
  const memory = new GuestMemory([])
  const log = new DmaLog(memory)
  const bits = (address: number, length: number, pageSize: number) => {
    const bitmap = log.report(address, length, pageSize)
    return [...Array(bitmap.length * 8).keys()].filter((bit) => bitmap[bit >>> 3] & (1 << (bit & 7)))
  }
  assert.equal(log.start(1 << 21), 4096)
  const mark = (page: number, pages: number) => memory.onWrite?.(page * 4096, pages * 4096)
  mark(0x10, 1)
  mark(0x16, 4)
  assert.deepEqual(bits(0x1_0000, 0x1_0000, 2048), [0, 1, 12, 13, 14, 15, 16, 17, 18, 19])
  mark(0x10, 1)
  mark(0x16, 4)
  assert.deepEqual(bits(0x1_0000, 0x1_0000, 8192), [0, 3, 4])
  memory.onWrite?.(0x1_ffff, 2)
  assert.deepEqual(bits(0x1_0000, 0x1_0000, 4096), [15])
  assert.deepEqual(bits(0x2_0000, 0x1000, 4096), [0], 'the second page of the write is in another range')
  memory.onWrite?.(2 ** 40, 1)
  assert.deepEqual(bits(0, 2 ** 41, 2 ** 40), [1])
  memory.onWrite?.(0, 0)
  assert.deepEqual(bits(0, 4096, 4096), [])
})
