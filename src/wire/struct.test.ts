import assert from 'node:assert/strict'
import { test } from 'node:test'
import { array, bits64, bits64be, byteArray, padding, u8, u16, u16be, u32, u32be, u64 } from './field.ts'
import { struct } from './struct.ts'

const MESSAGE = struct({
  kind: u8,
  padding: padding(1),
  version: u16,
  length: u32,
  flags: bits64,
  port: u16be,
  address: u32be,
  magic: bits64be,
  pair: array(u16, 2),
  name: byteArray(3),
})
const VALUE = {
  ...{ kind: 1, version: 0x0203, length: 0x04050607, flags: 0x8899aabbccddeeffn },
  ...{
    port: 0x1112,
    address: 0x13141516,
    magic: 0x2122232425262728n,
    pair: [0x3132, 0x3334],
    name: Uint8Array.of(1, 2, 3),
  },
}
const BYTES = '01 00 0302 07060504 ffeeddccbbaa9988 1112 13141516 2122232425262728 3231 3433 010203'.replaceAll(' ', '')

test('a message has its fields in order, without gaps, each in its byte order', () => {
  assert.equal(Buffer.from(MESSAGE.encode(VALUE)).toString('hex'), BYTES)
  assert.deepEqual(MESSAGE.decode(Buffer.from(BYTES, 'hex')), VALUE)
  assert.equal(MESSAGE.size, BYTES.length / 2)
})

test('a reader with too few bytes has no message, and keeps them', () => {
  const reader = { remaining: MESSAGE.size - 1, read: () => assert.fail('read') }
  assert.equal(MESSAGE.read(reader), undefined)
})

test('bytes of a message stay as they were when the next one is read', () => {
  const named = struct({ name: byteArray(2) })
  const read = (bytes: Uint8Array) => named.read({ remaining: 2, read: (target) => target.set(bytes) })
  const first = read(Uint8Array.of(1, 2))
  read(Uint8Array.of(3, 4))
  assert.deepEqual(first, { name: Uint8Array.of(1, 2) })
})

test('short lists and bytes leave the rest 0, long ones are cut', () => {
  const message = struct({ pair: array(u8, 2), name: byteArray(2) })
  assert.deepEqual([...message.encode({ pair: [1], name: Uint8Array.of(2) })], [1, 0, 2, 0])
  assert.deepEqual([...message.encode({ pair: [1, 2, 3], name: Uint8Array.of(4, 5, 6) })], [1, 2, 4, 5])
})

test('a number of 64 bits is exact below 2^53, and never less than that above', () => {
  const message = struct({ size: u64 })
  const read = (value: bigint) => message.decode(new Uint8Array(BigUint64Array.of(value).buffer)).size
  for (const value of [0n, 1n, 2n ** 32n - 1n, 2n ** 32n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 53n + 1n, 2n ** 64n - 1n]) {
    assert.equal(read(value), Number(value))
    const written = new BigUint64Array(message.encode({ size: Number(value) }).buffer)[0]
    assert.equal(written, value === 2n ** 53n + 1n ? 2n ** 53n : value)
  }
})
