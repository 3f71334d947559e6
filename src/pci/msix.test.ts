import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ConfigurationSpace } from './configuration-space.ts'
import { Msix } from './msix.ts'

const CONTROL = 0x42
const ENABLE = 0x8000
const FUNCTION_MASK = 0x4000
const IDENTITY = { vendor: 1, device: 2, revision: 3, classCode: 4, subsystemVendor: 5, subsystem: 6 }

/** MSI-X of a function with bus mastering on, and the messages it sent. */
function make(vectors = 3) {
  const sent: [address: number, data: number][] = []
  const msix = new Msix(vectors, 1, { sendMessage: (address, data) => sent.push([address, data]) })
  const space = new ConfigurationSpace(IDENTITY, [], [msix.capability], () => {})
  msix.hold(false)
  return {
    sent,
    msix,
    space,
    control: (bits: number) => space.write(CONTROL, 2, bits),
    /** Sets a vector to address 0x1000 * (vector + 1) and data 100 + vector, unmasked. */
    unmask(vector: number) {
      msix.write(16 * vector, 4, 0x1000 * (vector + 1))
      msix.write(16 * vector + 8, 4, 100 + vector)
      msix.write(16 * vector + 12, 4, 0)
    },
    pending: () => msix.read(16 * vectors, 4),
  }
}

test('the capability gives the number of vectors and the location of the tables  @pci 6.8.2', () => {
  const { space, msix } = make(3)
  assert.equal(space.read(0x40, 1), 0x11)
  assert.equal(space.read(CONTROL, 2), 2)
  assert.equal(space.read(0x44, 4), 1, 'table: BAR 1, offset 0')
  assert.equal(space.read(0x48, 4), 48 | 1, 'pending bits: BAR 1, after the table')
  assert.equal(msix.size, 48 + 8)
})

test('a driver can write only the enable and function mask bits of the capability  @pci 6.8.2.3', () => {
  const { space, msix } = make(3)
  space.write(CONTROL, 2, 0xffff)
  assert.equal(space.read(CONTROL, 2), ENABLE | FUNCTION_MASK | 2)
  assert.equal(msix.enabled, true)
  space.write(CONTROL + 1, 1, 0)
  assert.equal(msix.enabled, false)
  space.write(0x44, 4, 0xffff_ffff)
  assert.equal(space.read(0x44, 4), 1)
})

test('every vector is masked after a reset  @pci 6.8.2.9', () => {
  const { msix } = make(3)
  for (let vector = 0; vector < 3; vector++) assert.equal(msix.read(16 * vector + 12, 4), 1)
})

test('table entries are read and written by accesses of 1, 2 and 4 bytes  @pci 6.8.2', () => {
  const write = fc.tuple(fc.constantFrom(1, 2, 4), fc.nat(47), fc.integer({ min: 0, max: 0xffff_ffff }))
  fc.assert(
    fc.property(fc.array(write, { maxLength: 60 }), (writes) => {
      const { msix } = make(3)
      const model = new Uint8Array(48)
      for (let vector = 0; vector < 3; vector++) model[16 * vector + 12] = 1
      for (const [width, at, value] of writes) {
        const offset = at - (at % width)
        msix.write(offset, width, value)
        for (let i = 0; i < width; i++) {
          const control = (offset + i) % 16 >= 12
          const byte = (value >>> (8 * i)) & 0xff
          model[offset + i] = !control ? byte : (offset + i) % 16 === 12 ? byte & 1 : 0
        }
      }
      const view = new DataView(model.buffer)
      for (let at = 0; at < 48; at++) assert.equal(msix.read(at, 1), model[at])
      for (let at = 0; at < 48; at += 2) assert.equal(msix.read(at, 2), view.getUint16(at, true))
      for (let at = 0; at < 48; at += 4) assert.equal(msix.read(at, 4), view.getUint32(at, true))
    }),
  )
})

test('two 32-bit accesses in place of a 64-bit one set the whole address  @pci 6.8.2.6', () => {
  const { msix, sent, control } = make()
  control(ENABLE)
  msix.write(0, 4, 0xfee0_0003)
  msix.write(4, 4, 0x12)
  msix.write(8, 4, 0xffff_ffff)
  msix.write(12, 4, 0)
  msix.signal(0)
  assert.deepEqual(sent, [[0x12_fee0_0000, 0xffff_ffff]])
})

test('pending bits are read-only, and bytes after them read as 0  @pci 6.8.2.10', () => {
  const { msix, pending } = make(3)
  msix.write(48, 4, 0xffff_ffff)
  msix.write(47, 4, 0xffff_ffff)
  assert.equal(pending(), 0)
  assert.equal(msix.read(56, 4), 0)
  assert.equal(msix.read(0xffff_fff0, 4), 0)
})

test('a signalled vector sends its message  @pci 6.8.3.4', () => {
  const { msix, sent, control, unmask } = make()
  control(ENABLE)
  for (const vector of [0, 1, 2]) unmask(vector)
  msix.signal(2)
  msix.signal(0)
  assert.deepEqual(sent, [
    [0x3000, 102],
    [0x1000, 100],
  ])
})

test('an event of a masked vector stays pending, and its message is sent once after unmasking  @pci 6.8.3.5', () => {
  const { msix, sent, control, unmask, pending } = make()
  control(ENABLE)
  msix.signal(1)
  msix.signal(1)
  assert.equal(pending(), 2)
  unmask(0)
  assert.deepEqual(sent, [])
  unmask(1)
  assert.deepEqual(sent, [[0x2000, 101]])
  assert.equal(pending(), 0)
})

test('the function mask masks every vector, also those not masked themselves  @pci 6.8.2.3', () => {
  const { msix, sent, control, unmask, pending } = make()
  control(ENABLE | FUNCTION_MASK)
  unmask(0)
  unmask(1)
  for (const vector of [0, 1, 2]) msix.signal(vector)
  assert.equal(pending(), 7)
  control(ENABLE)
  assert.deepEqual(sent, [
    [0x1000, 100],
    [0x2000, 101],
  ])
  assert.equal(pending(), 4)
})

test('while MSI-X is off no message is sent and no event stays pending  @pci 6.8.2.3', () => {
  const { msix, sent, control, unmask, pending } = make()
  unmask(0)
  msix.signal(0)
  control(ENABLE)
  assert.deepEqual([sent, pending()], [[], 0])
})

test('without bus mastering messages stay pending  @pci 6.2.2', () => {
  const { msix, sent, control, unmask, pending } = make()
  control(ENABLE)
  unmask(0)
  msix.hold(true)
  msix.signal(0)
  assert.deepEqual([sent, pending()], [[], 1])
  msix.hold(false)
  assert.deepEqual([sent, pending()], [[[0x1000, 100]], 0])
})

test('vectors outside the table are ignored', () => {
  const { msix, sent, control, pending } = make()
  control(ENABLE)
  for (const vector of [3, 64, 0xffff]) msix.signal(vector)
  assert.deepEqual([sent, pending()], [[], 0])
})

test('the largest table keeps all its 2048 events pending and sends each once  @pci 6.8.2', () => {
  const { msix, sent, control, unmask, space } = make(2048)
  assert.equal(space.read(CONTROL, 2), 2047)
  control(ENABLE | FUNCTION_MASK)
  for (let vector = 0; vector < 2048; vector++) unmask(vector)
  for (let vector = 2047; vector >= 0; vector--) msix.signal(vector)
  for (let at = 0; at < 256; at += 4) assert.equal(msix.read(2048 * 16 + at, 4), 0xffff_ffff)
  control(ENABLE)
  assert.deepEqual(
    sent.map(([, data]) => data),
    Array.from({ length: 2048 }, (_, vector) => 100 + vector),
  )
})

test('a device reset clears pending bits and keeps the table; a function reset masks all vectors', () => {
  const { msix, sent, control, unmask, pending } = make()
  control(ENABLE | FUNCTION_MASK)
  unmask(0)
  msix.signal(0)
  msix.clearPending()
  control(ENABLE)
  assert.deepEqual([sent, msix.read(0, 4)], [[], 0x1000])
  msix.signal(1)
  msix.reset()
  assert.deepEqual([pending(), msix.read(0, 4), msix.read(12, 4)], [0, 0, 1])
})

test('if the bus has the table, vectors are sent by number, and refused vectors stay pending', () => {
  const sent: number[] = []
  const masked = new Set([1, 40])
  const msix = new Msix(64, 1, {
    sendVector: (vector) => {
      if (masked.has(vector)) return false
      sent.push(vector)
      return true
    },
  })
  const space = new ConfigurationSpace(IDENTITY, [], [msix.capability], () => {})
  msix.hold(false)
  msix.signal(0)
  assert.deepEqual(sent, [], 'MSI-X is off')
  space.write(CONTROL, 2, ENABLE)
  for (const vector of [0, 1, 1, 40, 63, 64]) msix.signal(vector)
  assert.deepEqual(sent, [0, 63], 'the masks of its own table are ignored')
  assert.equal(msix.read(64 * 16, 4), 2)
  assert.equal(msix.read(64 * 16 + 4, 4), 1 << 8)
  masked.delete(1)
  msix.retry()
  assert.deepEqual(sent, [0, 63, 1])
  assert.equal(msix.read(64 * 16, 4), 0)
  space.write(CONTROL, 2, ENABLE | FUNCTION_MASK)
  masked.clear()
  msix.retry()
  assert.deepEqual(sent, [0, 63, 1], 'the function is masked')
  space.write(CONTROL, 2, ENABLE)
  assert.deepEqual(sent, [0, 63, 1, 40])
})
