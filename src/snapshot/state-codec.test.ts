import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { SavedState, SavedValue } from './saved-state.ts'
import { SnapshotError } from './snapshot-error.ts'
import { decodeState, encodeState } from './state-codec.ts'

const { value } = fc.letrec<{ value: SavedValue }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 5, withCrossShrink: true },
    fc.constantFrom(null, true, false),
    fc.double(),
    fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }),
    fc.string({ unit: 'grapheme' }),
    fc.uint8Array(),
    fc.uint16Array(),
    fc.uint32Array(),
    fc.float64Array(),
    fc.array(tie('value')),
    fc.dictionary(fc.string(), tie('value'), { noNullPrototype: true }),
  ),
}))
const state = fc
  .tuple(fc.nat(), fc.dictionary(fc.string(), value, { noNullPrototype: true }))
  .map(([version, fields]): SavedState => ({ ...fields, version }))

test('an encoded state is a header, and values that begin with their tag', () => {
  const bytes = encodeState({ version: 1, b: [true, 258n], u: Uint16Array.of(1, 515) })
  assert.deepEqual(
    [...bytes],
    [
      // "OBST", format 1, length
      ...[0x4f, 0x42, 0x53, 0x54, 1, 0, 0, 0, 54, 0, 0, 0],
      // Object of 3 fields
      ...[11, 3, 0, 0, 0],
      ...[7, 0, 0, 0, 0x76, 0x65, 0x72, 0x73, 0x69, 0x6f, 0x6e, 3, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f],
      ...[1, 0, 0, 0, 0x62, 10, 2, 0, 0, 0, 2, 4, 2, 2, 1],
      ...[1, 0, 0, 0, 0x75, 7, 4, 0, 0, 0, 1, 0, 3, 2],
    ],
  )
})

test('a decoded state equals the encoded one', () => {
  fc.assert(
    fc.property(state, (saved) => {
      assert.deepEqual(decodeState(encodeState(saved)), saved)
    }),
  )
})

test('typed arrays of a decoded state have memory of their own, also if the bytes are a Buffer', () => {
  const bytes = Buffer.from(encodeState({ version: 1, array: Uint8Array.of(1, 2) }))
  const decoded = decodeState(bytes)
  bytes.fill(0)
  assert.deepEqual(decoded, { version: 1, array: Uint8Array.of(1, 2) })
})

test('bytes that were cut, changed or made up are decoded or refused, whatever they are', () => {
  const changes = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 8 })
  fc.assert(
    fc.property(state, changes, fc.option(fc.nat()), (saved, list, cut) => {
      const bytes = encodeState(saved).slice()
      for (const [at, byte] of list) bytes[at % bytes.length] = byte
      try {
        decodeState(bytes.subarray(0, cut === null ? bytes.length : cut % bytes.length))
      } catch (error) {
        assert.ok(error instanceof SnapshotError, String(error))
      }
    }),
    { numRuns: 1000 },
  )
})

/** An encoded state whose value is `bytes`. */
function framed(...bytes: readonly number[]): Uint8Array {
  const { length } = bytes
  return Uint8Array.of(0x4f, 0x42, 0x53, 0x54, 1, 0, 0, 0, length & 0xff, length >> 8, 0, 0, ...bytes)
}

const FIELD = [1, 0, 0, 0, 0x61]
for (const [what, bytes, reason] of [
  ['no bytes', new Uint8Array(0), /begin otherwise/],
  ['another magic', new Uint8Array(64), /begin otherwise/],
  ['a later format', framed().with(4, 2), /format 2/],
  ['a byte too many', Uint8Array.of(...framed(0), 0), /2 bytes, not 1/],
  ['an unknown tag', framed(12), /unknown tag 12/],
  ['a count that the bytes do not hold', framed(10, 0xff, 0xff, 0xff, 0xff, 0), /ends within/],
  ['a length that the bytes do not hold', framed(6, 0xff, 0xff, 0xff, 0xff), /ends within/],
  ['bytes that are no whole elements', framed(8, 3, 0, 0, 0, 1, 2, 3), /not elements of 4/],
  ['a string that is not UTF-8', framed(5, 1, 0, 0, 0, 0xff), /UTF-8/],
  ['a bigint that is too long', framed(4, 17), /17 bytes/],
  ['a field twice', framed(11, 2, 0, 0, 0, ...FIELD, 0, ...FIELD, 0), /two fields "a"/],
  ['lists without end', framed(...new Array(100).fill([10, 1, 0, 0, 0]).flat()), /deeper than 16/],
  ['no version', framed(11, 0, 0, 0, 0), /no version/],
  ['a value that is no object', framed(1), /no version/],
  ['values after the state', framed(0, 0), /1 bytes follow/],
] as const) {
  test(`a state with ${what} is refused`, () => {
    assert.throws(() => decodeState(bytes), { name: 'SnapshotError', message: reason })
  })
}

test('what no encoded state can hold is refused at once', () => {
  let deep: SavedValue = []
  for (let i = 0; i < 16; i++) deep = [deep]
  for (const value of [-1n, 1n << 128n, deep]) {
    assert.throws(() => encodeState({ version: 1, value }), SnapshotError)
  }
})
