import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Register, RegisterBlock } from './register-block.ts'

/** Registers that store written values, and a list of all writes in order. */
function make(...widths: Register['width'][]) {
  const writes: [index: number, value: number][] = []
  const values = widths.map(() => 0)
  const block = new RegisterBlock(
    widths.map((width, index) => ({
      name: `r${index}`,
      width,
      read: () => values[index],
      write(value) {
        values[index] = value
        writes.push([index, value])
      },
    })),
  )
  return { block, writes, values }
}

test('a field is read and written with its own width', () => {
  const { block, writes } = make(4, 2, 1, 1)
  block.write(0, 4, 0xdead_beef)
  block.write(4, 2, 0x1234)
  block.write(6, 1, 0x56)
  assert.deepEqual(writes, [
    [0, 0xdead_beef],
    [1, 0x1234],
    [2, 0x56],
  ])
  assert.equal(block.read(0, 4), 0xdead_beef)
  assert.equal(block.read(4, 2), 0x1234)
  assert.equal(block.read(6, 1), 0x56)
  assert.equal(block.length, 8)
})

test('reads of other widths and alignments return the same bytes', () => {
  const { block, values } = make(4, 2, 1, 1)
  values.splice(0, 4, 0x4433_2211, 0x6655, 0x77, 0x88)
  assert.equal(block.read(1, 1), 0x22)
  assert.equal(block.read(2, 2), 0x4433)
  assert.equal(block.read(2, 4), 0x6655_4433)
  assert.equal(block.read(4, 4), 0x8877_6655)
  assert.equal(block.read(7, 4), 0x88)
  assert.equal(block.read(8, 4), 0)
})

test('a write that is split changes the field once, with all bytes', () => {
  for (const width of [1, 2]) {
    const { block, writes } = make(4)
    for (let at = 0; at < 4; at += width) {
      assert.deepEqual(writes, [])
      block.write(at, width, (0xdead_beef >>> (8 * at)) & (2 ** (8 * width) - 1))
    }
    assert.deepEqual(writes, [[0, 0xdead_beef]])
  }
})

test('a write over several fields writes each, in ascending order', () => {
  const { block, writes } = make(2, 1, 1)
  block.write(0, 4, 0x4433_2211)
  assert.deepEqual(writes, [
    [0, 0x2211],
    [1, 0x33],
    [2, 0x44],
  ])
})

test('bytes that are not consecutive are ignored', () => {
  const { block, writes, values } = make(4, 4)
  values[0] = 7
  block.write(1, 1, 1)
  block.write(0, 1, 1)
  block.write(2, 1, 1)
  block.write(3, 1, 1)
  block.write(0, 2, 1)
  block.write(6, 2, 1)
  block.write(2, 2, 1)
  assert.deepEqual([writes, values[0]], [[], 7])
})

test('a write of the whole field discards bytes collected before', () => {
  const { block, writes } = make(4)
  block.write(0, 2, 0xffff)
  block.write(0, 4, 5)
  block.write(2, 2, 0xffff)
  assert.deepEqual(writes, [[0, 5]])
})

test('a read-only field ignores writes of any width', () => {
  const block = new RegisterBlock([{ name: 'fixed', width: 4, read: () => 9 }])
  for (const width of [1, 2, 4]) for (let at = 0; at < 4; at += width) block.write(at, width, 0xff)
  assert.equal(block.read(0, 4), 9)
})

test('a value can be split in any way if the bytes are in order', () => {
  const cuts = fc.constantFrom([4], [2, 2], [1, 1, 2], [2, 1, 1], [1, 2, 1], [1, 1, 1, 1])
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 0xffff_ffff }), cuts, (value, widths) => {
      const { block, values } = make(1, 1, 4, 2)
      let at = 2
      for (const width of widths) {
        block.write(at, width, value >>> (8 * (at - 2)))
        at += width
      }
      assert.deepEqual(values, [0, 0, value, 0])
    }),
  )
})
