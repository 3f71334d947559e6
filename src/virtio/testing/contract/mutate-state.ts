import type { SavedArray, SavedState, SavedValue } from '../../../snapshot/saved-state.ts'
import type { Random } from './random.ts'

/** Values that a saved state may have by mistake or malice. */
const STRANGE: readonly SavedValue[] = [
  null,
  true,
  false,
  -1,
  0,
  1,
  2,
  0.5,
  255,
  256,
  65535,
  65536,
  2 ** 31,
  2 ** 32,
  2 ** 53,
  Number.NaN,
  Number.NEGATIVE_INFINITY,
  0n,
  1n << 63n,
  (1n << 128n) - 1n,
  '',
  'strange',
  new Uint8Array(0),
  new Uint8Array(4096),
  new Uint32Array(3),
  [],
  [[]],
  {},
  { version: 1 },
  { version: 2 },
]

/** Returns a copy of a saved state with a few random changes. */
export function mutateState(state: SavedState, random: Random): SavedState {
  let mutated: SavedValue = state
  for (let changes = random.from(1, 3); changes > 0; changes--) mutated = mutate(mutated, random)
  return mutated as SavedState
}

function mutate(value: SavedValue, random: Random): SavedValue {
  if (typeof value === 'number' && random.oneIn(2)) return value + random.pick([-1, 1, random.next(), 0.25])
  if (typeof value === 'bigint' && random.oneIn(2)) return value ^ (1n << BigInt(random.below(128)))
  if (ArrayBuffer.isView(value))
    return random.oneIn(6) ? random.pick(STRANGE) : mutateArray(value as SavedArray, random)
  if (typeof value !== 'object' || value === null || random.oneIn(12)) return random.pick(STRANGE)
  if (isList(value)) return mutateList(value, random)
  return mutateFields(value, random)
}

function mutateArray(array: SavedArray, random: Random): SavedArray {
  if (random.oneIn(4)) return array.slice(0, random.below(array.length + 1))
  const copy = array.slice()
  for (let i = random.from(1, 4); i > 0 && copy.length > 0; i--) copy[random.below(copy.length)] = random.next()
  return copy
}

function mutateList(list: readonly SavedValue[], random: Random): SavedValue {
  const at = random.below(list.length)
  if (list.length === 0 || random.oneIn(6)) return [...list, random.pick([...STRANGE, ...list])]
  if (random.oneIn(6)) return list.toSpliced(at, 1)
  return list.with(at, mutate(list[at], random))
}

function mutateFields(fields: { readonly [name: string]: SavedValue }, random: Random): SavedValue {
  const names = Object.keys(fields)
  if (names.length === 0 || random.oneIn(8)) return { ...fields, strange: random.pick(STRANGE) }
  const chosen = random.pick(names)
  if (random.oneIn(8)) return Object.fromEntries(Object.entries(fields).filter(([name]) => name !== chosen))
  return { ...fields, [chosen]: mutate(fields[chosen], random) }
}

function isList(value: SavedValue): value is readonly SavedValue[] {
  return Array.isArray(value)
}
