import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { BaseAddress, type BaseAddressRequest } from './base-address.ts'
import { ConfigurationSpace } from './configuration-space.ts'

const IDENTITY = { vendor: 1, device: 2, revision: 3, classCode: 4, subsystemVendor: 5, subsystem: 6 }
const DEVICE = { read: () => 0, write() {} }
const BAR_0 = 0x10
const IO = 1
const MEMORY = 2

function request(part: Partial<BaseAddressRequest>): BaseAddressRequest {
  return { index: 0, size: 4096, kind: 'memory32', prefetchable: false, address: 0, device: DEVICE, ...part }
}

function spaceWith(...requests: BaseAddressRequest[]): ConfigurationSpace {
  return new ConfigurationSpace(IDENTITY, requests, [], () => {})
}

test('a driver that writes all ones reads the size of a 32-bit BAR  @pci 6.2.5.1', () => {
  for (const size of [16, 256, 4096, 1 << 20, 2 ** 31]) {
    const space = spaceWith(request({ size }))
    space.write(BAR_0, 4, 0xffff_ffff)
    const stuck = space.read(BAR_0, 4)
    assert.equal(stuck & 15, 0)
    assert.equal((~(stuck & ~15) + 1) >>> 0, size)
  }
})

test('a driver that writes all ones reads the size of an I/O BAR  @pci 6.2.5.1', () => {
  for (const size of [4, 8, 256, 1024]) {
    const space = spaceWith(request({ size, kind: 'io' }))
    assert.equal(space.read(BAR_0, 4), 1, 'I/O ports, at no address')
    space.write(BAR_0, 4, 0xffff_ffff)
    const stuck = space.read(BAR_0, 4)
    assert.equal(stuck & 3, 1)
    assert.equal((~(stuck & ~3) + 1) >>> 0, size)
  }
})

test('a driver that writes all ones reads the size of a 64-bit BAR from two registers  @pci 6.2.5.1', () => {
  for (const size of [4096, 2 ** 31, 2 ** 32, 2 ** 33, 2 ** 40]) {
    const space = spaceWith(request({ index: 2, size, kind: 'memory64', prefetchable: true }))
    space.write(BAR_0 + 8, 4, 0xffff_ffff)
    space.write(BAR_0 + 12, 4, 0xffff_ffff)
    const low = space.read(BAR_0 + 8, 4)
    assert.equal(low & 15, 12, 'memory, 64 bits, prefetchable')
    const stuck = (BigInt(space.read(BAR_0 + 12, 4)) << 32n) | BigInt((low & ~15) >>> 0)
    assert.equal(BigInt.asUintN(64, -stuck), BigInt(size))
  }
})

test('the low bits give the type of a BAR and are read-only  @pci 6.2.5.1', () => {
  for (const [kind, prefetchable, bits] of [
    ['memory32', false, 0],
    ['memory32', true, 8],
    ['memory64', false, 4],
    ['memory64', true, 12],
    ['io', false, 1],
  ] as const) {
    const space = spaceWith(request({ kind, prefetchable }))
    assert.equal(space.read(BAR_0, 4), bits)
    for (const value of [0, 15, 0xffff_ffff]) {
      space.write(BAR_0, 4, value)
      assert.equal(space.read(BAR_0, 4) & (kind === 'io' ? 3 : 15), bits)
    }
  }
})

test('registers without a BAR read as 0 after any write', () => {
  const space = spaceWith(request({ index: 1 }))
  for (const at of [BAR_0, BAR_0 + 8, BAR_0 + 20]) {
    space.write(at, 4, 0xffff_ffff)
    assert.equal(space.read(at, 4), 0)
  }
})

test('an address can be written by accesses of any width  @pci 6.2.5.1', () => {
  const widths = fc.constantFrom(1, 2, 4)
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 0xfffff }), widths, (page, width) => {
      const address = page * 4096
      const space = spaceWith(request({}))
      for (let at = 0; at < 4; at += width) {
        space.write(BAR_0 + at, width, (address >>> (8 * at)) & (width === 4 ? -1 : 2 ** (8 * width) - 1))
      }
      space.write(4, 2, MEMORY)
      assert.equal(space.bars[0]?.address, address)
      assert.equal(space.bars[0]?.decoded, true)
    }),
  )
})

test('a BAR is decoded if memory decoding is on and it has an address  @pci 6.2.2', () => {
  const changes: boolean[] = []
  const space = new ConfigurationSpace(IDENTITY, [request({})], [], (mapped) => changes.push(mapped))
  const [bar] = space.bars
  space.write(4, 2, MEMORY)
  assert.equal(bar?.decoded, false)
  space.write(BAR_0, 4, 0x8000_0000)
  assert.deepEqual([bar?.decoded, bar?.address], [true, 0x8000_0000])
  space.write(BAR_0, 4, 0x8000_0000)
  space.write(BAR_0, 4, 0x9000_0000)
  space.write(4, 2, 0)
  assert.equal(bar?.decoded, false)
  // The writes to the command register, and the BAR write that moved the decoded range.
  assert.deepEqual(changes, [false, true, true, true])
})

test('memory and I/O ports are decoded independently  @pci 6.2.2', () => {
  const space = spaceWith(
    request({ kind: 'io', size: 32, address: 0xc000 }),
    request({ index: 1, address: 0xfea0_0000 }),
    request({ index: 2, kind: 'memory64', address: 0x8_0000_0000 }),
  )
  const decoded = () => space.bars.map((bar) => bar?.decoded ?? false)
  for (const command of [0, IO, MEMORY, IO | MEMORY]) {
    space.write(4, 2, command)
    const [io, memory] = [(command & IO) !== 0, (command & MEMORY) !== 0]
    assert.deepEqual(decoded(), [io, memory, memory, false, false, false])
  }
})

test('a function without a BAR of a space cannot enable that space  @pci 6.2.2', () => {
  for (const [requests, bits] of [
    [[], 0],
    [[request({})], MEMORY],
    [[request({ kind: 'io' })], IO],
    [[request({}), request({ index: 1, kind: 'io' })], IO | MEMORY],
  ] as const) {
    const space = spaceWith(...requests)
    space.write(4, 2, IO | MEMORY)
    assert.equal(space.read(4, 2), bits)
  }
})

test('a 64-bit BAR can lie above 4 GiB', () => {
  const space = spaceWith(request({ index: 4, kind: 'memory64' }))
  space.write(BAR_0 + 16, 4, 0x1000)
  space.write(BAR_0 + 20, 4, 0x12)
  assert.equal(space.bars[4]?.address, 0x12_0000_1000)
  assert.equal(space.bars[5], undefined)
})

test('a reset restores the initial addresses of BARs', () => {
  const space = spaceWith(
    request({ address: 0xfebf_0000 }),
    request({ index: 2, kind: 'memory64', address: 0x8_0000_0000 }),
  )
  space.write(BAR_0, 4, 0x8000_0000)
  space.write(BAR_0 + 8, 4, 0x1000)
  space.write(4, 2, MEMORY)
  space.reset()
  assert.deepEqual([space.bars[0]?.address, space.bars[0]?.decoded], [0xfebf_0000, false])
  assert.equal(space.bars[2]?.address, 0x8_0000_0000)
})

test('an invalid BAR throws at construction', () => {
  for (const impossible of [
    { size: 8 },
    { size: 2, kind: 'io' },
    { size: 2 ** 17, kind: 'io' },
    { kind: 'io', prefetchable: true },
    { size: 4097 },
    { size: 2 ** 32 },
    { index: 6 },
    { index: 5, kind: 'memory64' },
    { address: 0x800 },
  ] as const) {
    assert.throws(() => new BaseAddress(request(impossible)), RangeError, JSON.stringify(impossible))
  }
})
