import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MemoryDisk, type MemoryDiskOptions } from '../../../backends/disk/memory-disk.ts'
import { Feature, featureSet, hasFeature } from '../../../virtio/feature.ts'
import { activateDevice, type DeviceRig, type DeviceRigOptions } from '../../../virtio/testing/device-rig.ts'
import { BlockDevice, type BlockDeviceOptions } from './block.ts'
import {
  BlkFeature,
  BlkStatus,
  BlkType,
  CONFIG_BLK_SIZE,
  CONFIG_CAPACITY,
  CONFIG_DISCARD_SECTOR_ALIGNMENT,
  CONFIG_PHYSICAL_BLOCK_EXP,
} from './protocol.ts'
import { MAX_DISCARD_SECTORS, MAX_SEGMENTS, MAX_WRITE_ZEROES_SECTORS } from './segment-list.ts'
import { header, pattern, segment, status } from './testing/driver-requests.ts'

const SECTORS = 64

interface Setup {
  readonly disk?: MemoryDiskOptions
  readonly device?: BlockDeviceOptions
  readonly rig?: DeviceRigOptions
  /** Features that the driver does not accept. */
  readonly without?: readonly number[]
}

/** Creates a device with a disk of 64 sectors of pattern, and a driver. */
function setUp(setup: Setup = {}): { bytes: Uint8Array; device: BlockDevice; rig: DeviceRig } {
  const bytes = pattern(SECTORS * 512, 1)
  const device = new BlockDevice(new MemoryDisk(bytes, setup.disk), setup.device)
  const features =
    (device.features | featureSet(Feature.VERSION_1, Feature.INDIRECT_DESC)) & ~featureSet(...(setup.without ?? []))
  const rig = activateDevice(device, { features, ...setup.rig })
  return { bytes, device, rig }
}

test('a read writes the data from the sector, and the status  @virtio 5.2.6', () => {
  const { rig, bytes, device } = setUp()
  const reply = rig.send(0, [header(BlkType.IN, 3)], [1024, 1])
  assert.equal(reply.written, 1025)
  assert.deepEqual(reply.parts[0], bytes.slice(3 * 512, 5 * 512))
  assert.equal(status(reply), BlkStatus.OK)
  assert.equal(device.counters.reads, 1)
  assert.equal(device.counters.bytesRead, 1024)
})

test('a write stores the data at the sector, and writes the status only  @virtio 5.2.6', () => {
  const { rig, bytes, device } = setUp()
  const before = bytes.slice()
  const data = pattern(1024, 9)
  const reply = rig.send(0, [header(BlkType.OUT, 62), data], [1])
  assert.equal(reply.written, 1)
  assert.equal(status(reply), BlkStatus.OK)
  assert.deepEqual(bytes.slice(62 * 512), data)
  assert.deepEqual(bytes.slice(0, 62 * 512), before.slice(0, 62 * 512))
  assert.equal(device.counters.bytesWritten, 1024)
})

test('the descriptors of a request can have any layout  @virtio 2.7.4.1', () => {
  const { rig, bytes } = setUp()
  const head = header(BlkType.OUT, 5)
  const data = pattern(512, 4)
  // Header in three pieces, the last of which also contains data.
  const third = new Uint8Array([...head.slice(9), ...data.slice(0, 100)])
  const write = rig.send(0, [head.slice(0, 1), head.slice(1, 9), third, data.slice(100)], [1])
  assert.equal(status(write), BlkStatus.OK)
  assert.deepEqual(bytes.slice(5 * 512, 6 * 512), data)
  // Data and status in one piece, and in pieces of odd lengths with the status at the end of the last.
  const together = rig.send(0, [header(BlkType.IN, 5)], [513])
  assert.deepEqual(together.parts[0], new Uint8Array([...data, BlkStatus.OK]))
  const pieces = rig.send(0, [header(BlkType.IN, 5)], [1, 300, 212], 'indirect')
  assert.equal(pieces.written, 513)
  assert.deepEqual(pieces.bytes, new Uint8Array([...data, BlkStatus.OK]))
})

test('a request without a byte for its status is returned with length 0, and the next is served', () => {
  const { rig, bytes, device } = setUp()
  const before = bytes.slice()
  const reply = rig.send(0, [header(BlkType.OUT, 0), new Uint8Array(512)])
  assert.equal(reply.written, 0)
  assert.deepEqual(bytes, before)
  assert.equal(device.inspect().lastError, 'request without a byte for its status')
  assert.equal(status(rig.send(0, [header(BlkType.IN, 0)], [512, 1])), BlkStatus.OK)
})

test('a request with a short header fails', () => {
  const { rig } = setUp()
  for (const readable of [[], [header(BlkType.IN).slice(0, 15)]]) {
    const reply = rig.send(0, readable, [512, 1])
    assert.equal(status(reply), BlkStatus.IOERR)
    assert.equal(reply.written, 0)
  }
})

test('requests past the end of the disk fail, for every sector number  @virtio 5.2.6.1', () => {
  const { rig, bytes } = setUp()
  const before = bytes.slice()
  const past = [SECTORS - 1, SECTORS, 2 ** 32, 2n ** 53n, 2n ** 55n - 1n, 2n ** 64n - 1n, 2n ** 64n - 2n]
  for (const sector of past) {
    const read = rig.send(0, [header(BlkType.IN, sector)], [1024, 1])
    assert.equal(status(read), BlkStatus.IOERR, `read at ${sector}`)
    assert.deepEqual(read.parts[0], new Uint8Array(1024))
    const write = rig.send(0, [header(BlkType.OUT, sector), new Uint8Array(1024)], [1])
    assert.equal(status(write), BlkStatus.IOERR, `write at ${sector}`)
  }
  assert.deepEqual(bytes, before)
  assert.equal(status(rig.send(0, [header(BlkType.IN, SECTORS - 1)], [512, 1])), BlkStatus.OK)
})

test('the configuration has the logical block size of the options  @virtio 5.2.4', () => {
  for (const [logicalBlockSize, exponent] of [
    [512, 3],
    [4096, 0],
  ] as const) {
    const device = new BlockDevice(new MemoryDisk(new Uint8Array(4096 + 512)), { logicalBlockSize })
    const { view } = device.config
    assert.equal(view.getUint32(CONFIG_BLK_SIZE, true), logicalBlockSize)
    assert.equal(view.getUint8(CONFIG_PHYSICAL_BLOCK_EXP), exponent)
    assert.equal(view.getUint32(CONFIG_DISCARD_SECTOR_ALIGNMENT, true), 8)
    // An incomplete last block is not used.
    assert.equal(view.getBigUint64(CONFIG_CAPACITY, true), logicalBlockSize === 512 ? 9n : 8n)
  }
})

test('a request whose data is not a whole number of sectors fails  @virtio 5.2.6.1', () => {
  const { rig, bytes } = setUp()
  const before = bytes.slice()
  for (const length of [1, 511, 513, 1000]) {
    assert.equal(status(rig.send(0, [header(BlkType.IN, 0)], [length, 1])), BlkStatus.IOERR)
    assert.equal(status(rig.send(0, [header(BlkType.OUT, 0), new Uint8Array(length)], [1])), BlkStatus.IOERR)
  }
  assert.deepEqual(bytes, before)
})

test('the used length never covers unwritten bytes  @virtio 2.7.8.2', () => {
  const { rig } = setUp()
  assert.equal(rig.send(0, [header(BlkType.IN, SECTORS)], [512, 1]).written, 0)
  assert.equal(rig.send(0, [header(BlkType.OUT, SECTORS), new Uint8Array(512)], [1]).written, 1)
  const flush = rig.send(0, [header(BlkType.FLUSH)], [8])
  assert.equal(flush.written, 0)
  assert.equal(status(flush), BlkStatus.OK)
})

test('a read-only disk offers RO and fails every write  @virtio 5.2.6.2', () => {
  const { rig, bytes, device } = setUp({ disk: { readOnly: true } })
  const before = bytes.slice()
  assert.ok(hasFeature(device.features, BlkFeature.RO))
  for (const bit of [BlkFeature.DISCARD, BlkFeature.WRITE_ZEROES, BlkFeature.CONFIG_WCE]) {
    assert.ok(!hasFeature(device.features, bit))
  }
  assert.equal(status(rig.send(0, [header(BlkType.OUT, 0), new Uint8Array(512)], [1])), BlkStatus.IOERR)
  assert.equal(status(rig.send(0, [header(BlkType.DISCARD), segment(0, 1)], [1])), BlkStatus.UNSUPP)
  assert.equal(status(rig.send(0, [header(BlkType.WRITE_ZEROES), segment(0, 1)], [1])), BlkStatus.UNSUPP)
  assert.equal(status(rig.send(0, [header(BlkType.FLUSH)], [1])), BlkStatus.OK)
  assert.deepEqual(bytes, before)
})

test('writes to a read-only disk fail without RO negotiated too  @virtio 5.2.6.2', () => {
  const { rig } = setUp({ disk: { readOnly: true }, without: [BlkFeature.RO] })
  assert.equal(status(rig.send(0, [header(BlkType.OUT, 0), new Uint8Array(512)], [1])), BlkStatus.IOERR)
})

test('GET_ID returns the serial number, in 20 bytes without a terminator  @virtio 5.2.6', () => {
  const ids = {
    disk0: 'disk0',
    '': '',
    'twenty characters ok': 'twenty characters ok',
    'a name far too long for it': 'a name far too long ',
  }
  for (const [serial, expected] of Object.entries(ids)) {
    const { rig } = setUp({ device: { serial } })
    const reply = rig.send(0, [header(BlkType.GET_ID)], [20, 1])
    assert.equal(reply.written, 21)
    assert.equal(status(reply), BlkStatus.OK)
    assert.deepEqual(
      reply.parts[0],
      new Uint8Array(20).map((_, i) => expected.charCodeAt(i) || 0),
    )
  }
  const { rig } = setUp({ device: { serial: 'x' } })
  for (const room of [19, 21]) {
    assert.equal(status(rig.send(0, [header(BlkType.GET_ID)], [room, 1])), BlkStatus.IOERR)
  }
})

test('request types that are unknown or not offered are UNSUPP  @virtio 5.2.6.2', () => {
  const { rig, device } = setUp()
  for (const bit of [BlkFeature.LIFETIME, BlkFeature.SECURE_ERASE, BlkFeature.ZONED, BlkFeature.SIZE_MAX]) {
    assert.ok(!hasFeature(device.features, bit))
  }
  const zones = [15, 16, 18, 20, 22, 24, 26]
  for (const type of [BlkType.GET_LIFETIME, BlkType.SECURE_ERASE, ...zones, 2, 3, 5, 0x8000_0000, 0xffff_ffff]) {
    assert.equal(status(rig.send(0, [header(type), segment(0, 1)], [1])), BlkStatus.UNSUPP, `type ${type}`)
  }
})

test('write zeroes clears its segments, with and without the unmap flag  @virtio 5.2.6.2', () => {
  const { rig, bytes, device } = setUp()
  const expected = bytes
    .slice()
    .fill(0, 512, 3 * 512)
    .fill(0, 63 * 512)
  const segments = [segment(1, 2), segment(9, 0), segment(63, 1, 1)]
  const reply = rig.send(0, [header(BlkType.WRITE_ZEROES), ...segments], [1])
  assert.equal(status(reply), BlkStatus.OK)
  assert.deepEqual(bytes, expected)
  assert.equal(device.counters.writeZeroes, 1)
})

for (const type of [BlkType.DISCARD, BlkType.WRITE_ZEROES]) {
  const name = type === BlkType.DISCARD ? 'discard' : 'write zeroes'
  const most = type === BlkType.DISCARD ? MAX_DISCARD_SECTORS : MAX_WRITE_ZEROES_SECTORS
  const good = segment(0, 1)

  test(`${name}: with one invalid segment, no segment is changed  @virtio 5.2.6.1`, () => {
    const { rig, bytes } = setUp()
    const before = bytes.slice()
    const bad = [segment(SECTORS, 1), segment(1, SECTORS), segment(0, most + 1), segment(2n ** 64n - 1n, 2)]
    for (const second of [...bad, segment(0, 0xffff_ffff), segment(SECTORS + 1, 0), segment(0, 1).slice(0, 12)]) {
      assert.equal(status(rig.send(0, [header(type), good, second], [1])), BlkStatus.IOERR)
    }
    assert.equal(status(rig.send(0, [header(type)], [1])), BlkStatus.IOERR)
    assert.deepEqual(bytes, before)
  })

  test(`${name}: an unknown flag is UNSUPP, even if there are other errors  @virtio 5.2.6.2`, () => {
    const { rig, bytes } = setUp()
    const before = bytes.slice()
    for (const flags of type === BlkType.DISCARD ? [1, 2, 0x8000_0000] : [2, 3, 0x8000_0000]) {
      assert.equal(status(rig.send(0, [header(type), good, segment(1, 1, flags)], [1])), BlkStatus.UNSUPP)
      assert.equal(
        status(rig.send(0, [header(type), segment(SECTORS, 9), segment(1, 1, flags)], [1])),
        BlkStatus.UNSUPP,
      )
    }
    assert.deepEqual(bytes, before)
  })

  test(`${name}: at most the configured number of segments is accepted  @virtio 5.2.6.1`, () => {
    const { rig, bytes } = setUp()
    const segments = Array.from({ length: MAX_SEGMENTS + 1 }, (_, i) => segment(i, 1))
    const before = bytes.slice()
    assert.equal(status(rig.send(0, [header(type), ...segments], [1])), BlkStatus.UNSUPP)
    assert.deepEqual(bytes, before)
    assert.equal(status(rig.send(0, [header(type), ...segments.slice(1)], [1])), BlkStatus.OK)
  })

  test(`${name}: UNSUPP without the negotiated feature`, () => {
    const { rig, bytes } = setUp({ without: [type === BlkType.DISCARD ? BlkFeature.DISCARD : BlkFeature.WRITE_ZEROES] })
    const before = bytes.slice()
    assert.equal(status(rig.send(0, [header(type), good], [1])), BlkStatus.UNSUPP)
    assert.deepEqual(bytes, before)
  })
}

test('a malformed chain fails only itself  @virtio 2.7.5', () => {
  const { rig } = setUp({ rig: { queueSize: 16 } })
  const { driver, queue } = rig.rigs[0]
  const address = rig.allocator.allocate(4096)
  const nowhere = 1 << 30
  const chains: [readable: { address: number; length: number }[], writable: { address: number; length: number }[]][] = [
    [[], []],
    [[{ address, length: 0 }], [{ address, length: 0 }]],
    [[{ address: nowhere, length: 16 }], [{ address, length: 513 }]],
    [[{ address, length: 16 }], [{ address: nowhere, length: 513 }]],
    [[{ address, length: 16 }], [{ address, length: 0xffff_ffff }]],
    // Header, data and status in the same bytes.
    [[{ address, length: 16 }], [{ address, length: 513 }]],
  ]
  for (const [readable, writable] of chains) {
    driver.add(readable, writable)
    rig.kick(0)
    while (driver.collect());
  }
  assert.equal(queue.position.inFlight, 0)
  assert.equal(queue.broken, undefined)
  assert.equal(status(rig.send(0, [header(BlkType.IN, 0)], [512, 1])), BlkStatus.OK)
})
