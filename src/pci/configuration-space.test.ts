import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { PciCapability } from './capability.ts'
import { ConfigurationSpace } from './configuration-space.ts'

const IDENTITY = {
  vendor: 0x1af4,
  device: 0x1050,
  revision: 1,
  classCode: 0x038000,
  subsystemVendor: 0x1111,
  subsystem: 0x2222,
}
const device = { read: () => 0, write() {} }
const BARS = [
  { index: 0, size: 4096, kind: 'memory32', prefetchable: false, address: 0, device },
  { index: 2, size: 1 << 20, kind: 'memory64', prefetchable: true, address: 0, device },
] as const

function capability(id: number, ...body: number[]): PciCapability {
  return { id, body: Uint8Array.from(body) }
}

function make(capabilities: readonly PciCapability[] = []): ConfigurationSpace {
  return new ConfigurationSpace(IDENTITY, BARS, capabilities, () => {})
}

/** Returns offset and id of each capability, in list order. */
function walk(space: ConfigurationSpace): [at: number, id: number][] {
  const found: [number, number][] = []
  for (let at = space.read(0x34, 1); at !== 0 && found.length < 64; at = space.read(at + 1, 1)) {
    found.push([at, space.read(at, 1)])
  }
  return found
}

test('the header identifies the function  @pci 6.2.1', () => {
  const space = make()
  assert.equal(space.read(0x00, 4), 0x1050_1af4)
  assert.equal(space.read(0x08, 4), 0x0380_0001)
  assert.equal(space.read(0x0e, 1), 0, 'header type 0, one function')
  assert.equal(space.read(0x2c, 4), 0x2222_1111)
  assert.equal(space.read(0x3d, 1), 1, 'INTA')
  assert.equal(space.read(0x30, 4), 0, 'no expansion ROM')
})

test('reads of any width and alignment return the same bytes', () => {
  const space = make([capability(9, 1, 2, 3)])
  const bytes = Array.from({ length: 256 }, (_, at) => space.read(at, 1))
  for (let at = 0; at < 256; at++) {
    assert.equal(space.read(at, 2), bytes[at] | ((bytes[at + 1] ?? 0) << 8))
    const upper = (bytes[at + 2] ?? 0) | ((bytes[at + 3] ?? 0) << 8)
    assert.equal(space.read(at, 4), space.read(at, 2) + upper * 65536)
  }
})

test('beyond 256 bytes reads return 0 and writes are ignored', () => {
  const space = make()
  space.write(0x100, 4, 0xffff_ffff)
  space.write(0xfff, 4, 0xffff_ffff)
  assert.equal(space.read(0x100, 4), 0)
  assert.equal(space.read(0xfff, 4), 0)
})

test('a driver can change only the supported bits of the command register  @pci 6.2.2', () => {
  const space = make()
  space.write(4, 2, 0xffff)
  assert.equal(space.read(4, 2), 0x0546)
  assert.deepEqual([space.busMaster, space.interruptDisabled], [true, true])
  space.write(5, 1, 0)
  assert.deepEqual([space.busMaster, space.interruptDisabled], [true, false])
  space.write(4, 1, 0)
  assert.equal(space.read(4, 2), 0)
})

test('the status register shows capabilities and a pending interrupt, and writes do not clear them  @pci 6.2.3', () => {
  const space = make([capability(9)])
  assert.equal(space.read(6, 2), 0x10)
  space.interruptStatus = true
  space.write(4, 4, 0xffff_0000)
  assert.equal(space.read(6, 2), 0x18)
  space.interruptStatus = false
  assert.equal(space.read(6, 2), 0x10)
  assert.equal(make().read(6, 2), 0, 'without capabilities')
})

test('the interrupt line and cache line size registers store what the driver writes  @pci 6.2.4', () => {
  const space = make()
  space.write(0x3c, 2, 0xff0b)
  assert.equal(space.read(0x3c, 2), 0x010b)
  space.write(0x0c, 2, 0x4010)
  assert.equal(space.read(0x0c, 2), 0x4010)
})

test('writes do not change identification, capabilities and reserved bytes  @pci 6.2.1', () => {
  const space = make([capability(9, 1, 2), capability(0x11, 3)])
  const fixed = [0, 1, 2, 3, 8, 9, 10, 11, 14, 15, 0x2c, 0x2d, 0x2e, 0x2f, 0x34, 0x38, 0x3d]
  for (let at = 0x40; at < 0x100; at++) fixed.push(at)
  const before = fixed.map((at) => space.read(at, 1))
  const write = fc.tuple(fc.nat(0xff), fc.constantFrom(1, 2, 4), fc.integer({ min: 0, max: 0xffff_ffff }))
  fc.assert(
    fc.property(fc.array(write, { maxLength: 40 }), (writes) => {
      for (const [at, width, value] of writes) space.write(at, width, value)
      assert.deepEqual(
        fixed.map((at) => space.read(at, 1)),
        before,
      )
    }),
  )
})

test('the capability list has aligned entries in order and ends with 0  @pci 6.7', () => {
  const space = make([capability(9, 16, 1), capability(9, 20, 2, 3, 4, 5), capability(0x11, 6)])
  assert.deepEqual(walk(space), [
    [0x40, 9],
    [0x44, 9],
    [0x4c, 0x11],
  ])
  assert.deepEqual(
    [0, 1, 2, 3, 4].map((i) => space.read(0x46 + i, 1)),
    [20, 2, 3, 4, 5],
  )
})

test('capabilities that exceed the configuration space throw at construction', () => {
  assert.throws(() => make([{ id: 9, body: new Uint8Array(191) }]), RangeError)
  assert.equal(walk(make([{ id: 9, body: new Uint8Array(190) }])).length, 1)
})

test('a capability has a write mask and is called for accesses to its body', () => {
  const calls: string[] = []
  const space = make([
    capability(9, 7),
    {
      id: 9,
      body: Uint8Array.of(0, 0, 0, 0),
      writable: Uint8Array.of(0xff, 0, 0x0f, 0),
      beforeRead: (body, from, to) => {
        calls.push(`read ${from}-${to}`)
        body[3]++
      },
      afterWrite: (body, from, to) => calls.push(`write ${from}-${to}: ${[...body]}`),
    },
  ])
  space.write(0x44, 4, 0xffff_ffff)
  space.write(0x48, 2, 0xffff)
  assert.equal(space.read(0x48, 2), 0x010f)
  space.read(0x40, 4)
  space.write(0x4a, 2, 0xffff)
  assert.deepEqual(calls, ['write 0-2: 255,0,0,0', 'write 2-4: 255,0,15,0', 'read 2-4'])
})

test('a reset restores every byte and calls the capabilities', () => {
  let writes = 0
  const space = make([{ id: 9, body: Uint8Array.of(1), writable: Uint8Array.of(0xff), afterWrite: () => writes++ }])
  const bytes = () => Array.from({ length: 256 }, (_, at) => space.read(at, 1))
  const before = bytes()
  for (let at = 0; at < 256; at++) space.write(at, 1, 0xff)
  assert.notDeepEqual(bytes(), before)
  space.reset()
  assert.deepEqual(bytes(), before)
  assert.deepEqual([writes, space.busMaster, space.interruptDisabled], [2, false, false])
})

test('extended capabilities are a list from 0x100, in a space of 4096 bytes  @pcie 7.6.3', () => {
  const extended = [
    { id: 3, body: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8) },
    { id: 0xb, version: 2, body: new Uint8Array(5), writable: Uint8Array.of(0xff, 0, 0, 0, 0xf0) },
  ]
  const space = new ConfigurationSpace(IDENTITY, BARS, [], () => {}, extended)
  assert.equal(space.size, 4096)
  assert.equal(space.read(0x100, 4), 3 | (1 << 16) | (0x10c << 20))
  assert.equal(space.read(0x104, 4), 0x0403_0201)
  assert.equal(space.read(0x10c, 4), 0xb | (2 << 16), 'the last one has no next')
  space.write(0x100, 4, 0)
  space.write(0x110, 4, 0xffff_ffff)
  space.write(0x114, 4, 0xffff_ffff)
  space.write(0xffc, 4, 0xffff_ffff)
  assert.equal(space.read(0x100, 2), 3)
  assert.equal(space.read(0x110, 4), 0xff)
  assert.equal(space.read(0x114, 4), 0xf0)
  assert.equal(space.read(0xffc, 4), 0)
  assert.equal(space.read(0x1000, 4), 0)
  const tooLong = [{ id: 3, body: new Uint8Array(4000) }]
  assert.throws(() => new ConfigurationSpace(IDENTITY, BARS, [], () => {}, tooLong), RangeError)
})

test('the saved bytes of another function are refused', () => {
  const bytes = make().save()
  assert.throws(() => make().check(bytes.with(0, 0x55)), { name: 'SnapshotError', message: /differs at 0$/ })
  assert.throws(() => make([capability(9, 1, 2)]).check(bytes), { name: 'SnapshotError' })
  const extended = [{ id: 3, body: new Uint8Array(8) }]
  const large = new ConfigurationSpace(IDENTITY, BARS, [], () => {}, extended)
  assert.throws(() => large.check(bytes), { name: 'SnapshotError', message: /256 bytes, not 4096/ })
})
