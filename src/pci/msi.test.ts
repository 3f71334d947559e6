import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ConfigurationSpace } from './configuration-space.ts'
import { Msi } from './msi.ts'

const AT = 0x40
const [CONTROL, ADDRESS_LO, ADDRESS_HI, DATA, MASK, PENDING] = [2, 4, 8, 12, 16, 20].map((offset) => AT + offset)
const ENABLE = 1
const IDENTITY = { vendor: 1, device: 2, revision: 3, classCode: 4, subsystemVendor: 5, subsystem: 6 }

/** MSI of a function with bus mastering on, and the messages that it sent. */
function make(vectors = 4) {
  const sent: [address: number, data: number][] = []
  const msi = new Msi(vectors, { sendMessage: (address, data) => sent.push([address, data]) })
  const space = new ConfigurationSpace(IDENTITY, [], [msi.capability], () => {})
  msi.hold(false)
  space.write(ADDRESS_LO, 4, 0xfee0_1000)
  space.write(DATA, 2, 0x4150)
  return { sent, msi, space, enable: (log2: number) => space.write(CONTROL, 2, ENABLE | (log2 << 4)) }
}

test('the capability gives the number of vectors, 64-bit addresses and mask bits  @pci 6.8.1.3', () => {
  const { space, msi } = make(4)
  assert.equal(space.read(AT, 1), 5)
  assert.equal(space.read(CONTROL, 2), (2 << 1) | 0x180)
  assert.equal(msi.enabled, false)
  space.write(CONTROL, 2, 0xffff)
  assert.equal(space.read(CONTROL, 2), (2 << 1) | 0x180 | 0x71)
  space.write(ADDRESS_LO, 4, 0xffff_ffff)
  assert.equal(space.read(ADDRESS_LO, 4), 0xffff_fffc)
  space.write(MASK, 4, 0xffff_ffff)
  assert.equal(space.read(MASK, 4), 0xf)
})

test('a message has the number of the vector in the low bits of its data  @pci 6.8.1.4', () => {
  const { msi, sent, space, enable } = make(4)
  space.write(ADDRESS_HI, 4, 2)
  msi.signal(0)
  assert.deepEqual(sent, [], 'MSI is disabled')
  enable(2)
  for (const vector of [0, 3, 4]) msi.signal(vector)
  assert.deepEqual(sent, [
    [0x2_fee0_1000, 0x4150],
    [0x2_fee0_1000, 0x4153],
  ])
})

test('vectors share messages if the driver enables fewer of them', () => {
  const { msi, sent, enable } = make(4)
  enable(1)
  for (let vector = 0; vector < 4; vector++) msi.signal(vector)
  assert.deepEqual(
    sent.map(([, data]) => data),
    [0x4150, 0x4151, 0x4150, 0x4151],
  )
})

test('more vectors than the function has are not used', () => {
  const { msi, sent, enable } = make(2)
  enable(5)
  msi.signal(1)
  assert.deepEqual(sent, [[0xfee0_1000, 0x4151]])
})

test('a masked vector stays pending until the driver unmasks it  @pci 6.8.1.7', () => {
  const { msi, sent, space, enable } = make(4)
  enable(2)
  space.write(MASK, 4, 0b1010)
  for (let vector = 0; vector < 4; vector++) msi.signal(vector)
  assert.deepEqual(
    sent.map(([, data]) => data & 3),
    [0, 2],
  )
  assert.equal(space.read(PENDING, 4), 0b1010)
  space.write(PENDING, 4, 0)
  assert.equal(space.read(PENDING, 4), 0b1010, 'pending bits are read-only')
  space.write(MASK, 4, 0b1000)
  assert.equal(sent.length, 3)
  msi.clearPending()
  space.write(MASK, 4, 0)
  assert.equal(sent.length, 3)
})

test('messages wait while bus mastering is off', () => {
  const { msi, sent, enable } = make(1)
  enable(0)
  msi.hold(true)
  msi.signal(0)
  assert.deepEqual(sent, [])
  msi.hold(false)
  assert.equal(sent.length, 1)
})

test('a restored configuration space has the enabled vectors and the pending bits', () => {
  const source = make(4)
  source.enable(2)
  source.space.write(MASK, 4, 2)
  source.msi.signal(1)
  const { msi, sent, space } = make(4)
  const bytes = source.space.save()
  space.check(bytes)
  space.restore(bytes)
  assert.equal(msi.enabled, true)
  space.write(MASK, 4, 0)
  assert.deepEqual(sent, [[0xfee0_1000, 0x4151]])
})

test('the number of vectors is a power of two up to 32', () => {
  for (const vectors of [0, 3, 33, 64]) assert.throws(() => new Msi(vectors, {}), RangeError)
})
