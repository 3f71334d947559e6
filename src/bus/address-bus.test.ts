import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { AddressBus, type AddressRange } from './address-bus.ts'
import type { BusDevice } from './bus-device.ts'
import { BusError } from './bus-error.ts'

/** Device whose bytes are stored, and that notes each access. */
function memory(size: number, accesses: string[] = []): BusDevice & { readonly bytes: Uint8Array } {
  const bytes = new Uint8Array(size)
  return {
    bytes,
    read(offset, width) {
      accesses.push(`read ${width} at ${offset}`)
      return Array.from({ length: width }, (_, i) => bytes[offset + i] * 2 ** (8 * i)).reduce((sum, byte) => sum + byte)
    },
    write(offset, width, value) {
      accesses.push(`write ${width} at ${offset}: ${value.toString(16)}`)
      for (let i = 0; i < width; i++) bytes[offset + i] = value >>> (8 * i)
    },
  }
}

function makeBus(size = 0x10000): AddressBus {
  return new AddressBus({ name: 'ports', size })
}

test('an access reaches the device at its address, with the offset in its range', () => {
  const bus = makeBus()
  const accesses: string[] = []
  bus.insert({ start: 0x3f8, size: 8 }, memory(8, accesses))
  bus.insert({ start: 0x3f0, size: 8 }, memory(8, accesses))
  bus.write(0x3f9, 1, 0x12)
  bus.write(0x3fc, 4, 0xfedc_ba98)
  assert.equal(bus.read(0x3fc, 4), 0xfedc_ba98)
  assert.equal(bus.read(0x3f7, 1), 0)
  assert.deepEqual(accesses, ['write 1 at 1: 12', 'write 4 at 4: fedcba98', 'read 4 at 4', 'read 1 at 7'])
})

test('reads without a device return all ones, and writes without one are ignored', () => {
  const bus = makeBus()
  const device = memory(8)
  bus.insert({ start: 0x100, size: 8 }, device)
  for (const [address, width, ones] of [
    [0, 1, 0xff],
    [0xfe, 2, 0xffff],
    [0x108, 4, 0xffff_ffff],
    [0xffff, 1, 0xff],
    [0x10000, 4, 0xffff_ffff],
    [2 ** 40, 4, 0xffff_ffff],
  ]) {
    bus.write(address, width, 0)
    assert.equal(bus.read(address, width), ones)
  }
  assert.ok(device.bytes.every((byte) => byte === 0))
})

test('an access across the end of a range is made byte by byte', () => {
  const bus = makeBus()
  const accesses: string[] = []
  bus.insert({ start: 0x100, size: 2 }, memory(2, accesses))
  bus.insert({ start: 0x103, size: 1 }, memory(1, accesses))
  bus.write(0x100, 4, 0x4433_2211)
  assert.equal(bus.read(0x100, 4), 0x44ff_2211)
  assert.equal(bus.read(0xff, 2), 0x11ff)
  assert.deepEqual(accesses, [
    ...['write 1 at 0: 11', 'write 1 at 1: 22', 'write 1 at 0: 44'],
    ...['read 1 at 0', 'read 1 at 1', 'read 1 at 0', 'read 1 at 0'],
  ])
})

test('a range that overlaps another is refused, and nothing changes', () => {
  const bus = makeBus()
  bus.insert({ start: 0x100, size: 0x10 }, memory(16))
  for (const range of [
    { start: 0x100, size: 0x10 },
    { start: 0x10f, size: 1 },
    { start: 0xff, size: 2 },
    { start: 0, size: 0x10000 },
    { start: 0x104, size: 4 },
  ]) {
    assert.equal(bus.isFree(range), false)
    assert.throws(() => bus.insert(range, memory(1)), BusError)
  }
  assert.throws(() => bus.insert({ start: 0xf8, size: 16 }, memory(16)), {
    message: 'ports: 0xf8 to 0x107 overlaps 0x100 to 0x10f',
  })
  assert.equal(bus.statistics().ranges.length, 1)
  assert.equal(bus.isFree({ start: 0x110, size: 1 }), true)
})

test('a range outside the address space is refused', () => {
  const bus = makeBus()
  for (const range of [
    { start: -1, size: 2 },
    { start: 0, size: 0 },
    { start: 0, size: -1 },
    { start: 0xffff, size: 2 },
    { start: 0x10000, size: 1 },
    { start: 2 ** 64, size: 2 ** 64 },
    { start: 0.5, size: 1 },
    { start: Number.NaN, size: 1 },
  ]) {
    assert.equal(bus.isFree(range), false)
    assert.throws(() => bus.insert(range, memory(1)), BusError)
  }
})

test('a removed range reads as all ones; only what was inserted can be removed', () => {
  const bus = makeBus()
  const range = { start: 0x100, size: 8 }
  bus.insert(range, memory(8))
  assert.equal(bus.read(0x100, 1), 0)
  for (const other of [
    { start: 0x100, size: 4 },
    { start: 0x101, size: 7 },
    { start: 0, size: 8 },
  ]) {
    assert.throws(() => bus.remove(other), BusError)
  }
  bus.remove(range)
  assert.equal(bus.read(0x100, 1), 0xff)
  assert.throws(() => bus.remove(range), { message: 'ports: 0x100 to 0x107 was not inserted' })
})

test('a device may remove and insert ranges, its own too, while it serves an access', () => {
  const bus = makeBus()
  const [from, to] = [
    { start: 0x100, size: 4 },
    { start: 0x200, size: 4 },
  ]
  const device: BusDevice = {
    read: (offset) => offset,
    write() {
      bus.remove(from)
      bus.insert(to, device)
    },
  }
  bus.insert(from, device)
  bus.write(0x101, 1, 0)
  assert.equal(bus.read(0x101, 1), 0xff)
  assert.equal(bus.read(0x201, 1), 1)
})

test('accesses are counted by device, also after its range moved', () => {
  const bus = makeBus()
  const [a, b] = [memory(4), memory(4)]
  bus.insert({ start: 0x200, size: 4 }, a)
  bus.insert({ start: 0x100, size: 4 }, b)
  bus.read(0x200, 4)
  bus.write(0x200, 4, 0)
  bus.write(0x202, 1, 0)
  bus.read(0x300, 4)
  bus.write(0x400, 2, 0)
  bus.remove({ start: 0x200, size: 4 })
  bus.insert({ start: 0x280, size: 4 }, a)
  assert.deepEqual(bus.statistics(), {
    ranges: [
      { start: 0x100, size: 4, device: b, reads: 0, writes: 0 },
      { start: 0x280, size: 4, device: a, reads: 1, writes: 2 },
    ],
    unmapped: { reads: 1, writes: 1 },
  })
})

test('changes of the ranges are reported', () => {
  const changes: [AddressRange, boolean][] = []
  const bus = new AddressBus({ name: 'ports', size: 256, onChange: (...change) => changes.push(change) })
  const range = { start: 8, size: 8 }
  bus.insert(range, memory(8))
  assert.throws(() => bus.insert(range, memory(8)))
  bus.remove(range)
  assert.deepEqual(changes, [
    [range, true],
    [range, false],
  ])
})

/** Addresses by byte, each with its own device: the model of a bus. */
test('a bus delivers as an array with an entry for each address does', () => {
  const SIZE = 64
  const step = fc.record({
    act: fc.constantFrom('insert', 'remove', 'read', 'write'),
    start: fc.nat(SIZE + 3),
    size: fc.nat(9),
    width: fc.constantFrom(1, 2, 4),
    value: fc.integer({ min: 0, max: 0xffff_ffff }),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const bus = makeBus(SIZE)
      const model: (readonly [range: AddressRange, bytes: number[]] | undefined)[] = new Array(SIZE)
      for (const { act, start, size, width, value } of steps) {
        const range = { start, size }
        const at = Array.from({ length: size }, (_, i) => start + i)
        const entry = model[start]
        if (act === 'insert') {
          const free = size > 0 && at.every((address) => address < SIZE && model[address] === undefined)
          assert.equal(bus.isFree(range), free)
          if (!free) continue
          bus.insert(range, memory(size))
          const inserted = [range, new Array<number>(size).fill(0)] as const
          for (const address of at) model[address] = inserted
        } else if (act === 'remove') {
          if (entry === undefined) continue
          bus.remove(entry[0])
          for (let i = 0; i < entry[0].size; i++) model[entry[0].start + i] = undefined
        } else if (act === 'write') {
          bus.write(start, width, value)
          for (let i = 0; i < width; i++) {
            const byte = model[start + i]
            if (byte) byte[1][start + i - byte[0].start] = (value >>> (8 * i)) & 0xff
          }
        } else {
          let expected = 0
          for (let i = 0; i < width; i++) {
            const byte = model[start + i]
            expected += (byte ? byte[1][start + i - byte[0].start] : 0xff) * 2 ** (8 * i)
          }
          assert.equal(bus.read(start, width), expected)
        }
      }
    }),
  )
})
