import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { SavedState, SavedValue } from './saved-state.ts'
import { bitSet, elements, flag, integer, list, nested, nullable, record, stateShape, text, tuple } from './shape.ts'

const STATE = stateShape('lamp', 3, {
  lit: flag,
  level: integer(0, 10),
  bits: bitSet(64),
  name: text(4),
  colours: elements(Uint8Array, 1, 3),
  switches: list(record({ on: flag }), 0, 2),
  pair: tuple([integer(0, 1), integer(2, 3)]),
  timer: nullable(integer(1, 9)),
  bulb: nested,
})

const GOOD = {
  lit: true,
  level: 7,
  bits: 1n << 63n,
  name: 'hall',
  colours: Uint8Array.of(1, 2),
  switches: [{ on: true }, { on: false }],
  pair: [0, 3],
  timer: null,
  bulb: { version: 9, anything: [] },
}

test('a state is written with its version, and read with the types that its shape names', () => {
  const state = STATE.write(GOOD)
  assert.equal(state.version, 3)
  const { level, switches } = STATE.read(state)
  assert.equal(level + switches.length, 9)
  assert.deepEqual(STATE.read(state), { ...GOOD, version: 3 })
})

const wrong: readonly (readonly [field: string, value: SavedValue, message: string])[] = [
  ['version', 4, 'lamp has version 4, not 3'],
  ['version', 1.5, 'lamp is an object, not a saved state with a version'],
  ['lit', 1, 'lamp.lit is 1, not true or false'],
  ['level', 11, 'lamp.level is 11, not an integer from 0 to 10'],
  ['level', Number.NaN, 'lamp.level is NaN, not an integer from 0 to 10'],
  ['level', '7', 'lamp.level is a string of 1, not an integer from 0 to 10'],
  ['bits', 1n << 64n, 'lamp.bits is 18446744073709551616, not a bigint of 64 bits'],
  ['bits', -1n, 'lamp.bits is -1, not a bigint of 64 bits'],
  ['name', 'hallway', 'lamp.name is a string of 7, not a string of at most 4'],
  ['colours', new Uint8Array(4), 'lamp.colours is Uint8Array of 4 elements, not Uint8Array of 1 to 3 elements'],
  ['colours', new Uint16Array(2), 'lamp.colours is Uint16Array of 2 elements, not Uint8Array of 1 to 3 elements'],
  ['switches', [{ on: true }, { on: null }], 'lamp.switches[1].on is null, not true or false'],
  ['switches', [{}], 'lamp.switches[0].on is missing, not true or false'],
  ['switches', [{ on: true, off: 1 }], 'lamp.switches[0] has an unknown field "off"'],
  ['switches', [{}, {}, {}], 'lamp.switches is a list of 3, not a list of 0 to 2'],
  ['pair', [0], 'lamp.pair is a list of 1, not a list of 2'],
  ['pair', [0, 4], 'lamp.pair[1] is 4, not an integer from 2 to 3'],
  ['timer', 0, 'lamp.timer is 0, not an integer from 1 to 9'],
  ['bulb', { on: true }, 'lamp.bulb is an object, not a saved state with a version'],
  ['bulb', [], 'lamp.bulb is a list of 0, not a saved state with a version'],
  ['toString', 1, 'lamp has an unknown field "toString"'],
]
for (const [field, value, message] of wrong) {
  test(`a state is refused: ${message}`, () => {
    const state: SavedState = { ...STATE.write(GOOD), [field]: value }
    assert.throws(() => STATE.read(state), { name: 'SnapshotError', message })
  })
}
