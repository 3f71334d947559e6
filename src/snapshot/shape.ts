import type { SavedArray, SavedState, SavedValue } from './saved-state.ts'
import { SnapshotError } from './snapshot-error.ts'

/**
 * Shape of a saved value: returns the value if it is valid.
 * @param what name of the value in messages
 * @throws {SnapshotError} if it is not valid
 */
export type Shape<T> = (value: SavedValue | undefined, what: string) => T

/** Type of the values of a shape. */
export type Shaped<S> = S extends Shape<infer T> ? T : never

type Shapes = Readonly<Record<string, Shape<unknown>>>
type Fields<F extends Shapes> = { readonly [K in keyof F]: Shaped<F[K]> }

/** Version and fields of a saved state. */
export interface StateShape<T> {
  /** Returns the fields as a saved state. */
  write(fields: T): SavedState
  /** Returns the fields of a saved state. @throws {SnapshotError} if any is not valid */
  read(state: SavedState): T
}

export const flag: Shape<boolean> = (value, what) => {
  if (typeof value !== 'boolean') throw refuse(what, value, 'true or false')
  return value
}

/** Returns the shape of an integer from `min` to `max`. */
export function integer(min: number, max: number): Shape<number> {
  return (value, what) => {
    if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
      throw refuse(what, value, `an integer from ${min} to ${max}`)
    }
    return value
  }
}

/** Returns the shape of a set of `width` bits. */
export function bitSet(width: number): Shape<bigint> {
  return (value, what) => {
    if (typeof value !== 'bigint' || value < 0n || value >> BigInt(width) !== 0n) {
      throw refuse(what, value, `a bigint of ${width} bits`)
    }
    return value
  }
}

/** Returns the shape of a string of at most `max` UTF-16 units. */
export function text(max: number): Shape<string> {
  return (value, what) => {
    if (typeof value !== 'string' || value.length > max) throw refuse(what, value, `a string of at most ${max}`)
    return value
  }
}

/** Returns the shape of a typed array with `min` to `max` elements. @default `max` is `min` */
export function elements<T extends SavedArray>(
  type: { new (length: number): SavedArray; readonly name: string; readonly prototype: T },
  min: number,
  max = min,
): Shape<T> {
  return (value, what) => {
    if (!(value instanceof type) || value.length < min || value.length > max) {
      throw refuse(what, value, `${type.name} of ${min === max ? min : `${min} to ${max}`} elements`)
    }
    return value as T
  }
}

/** Returns the shape of a list with `min` to `max` items. */
export function list<T>(item: Shape<T>, min: number, max: number): Shape<readonly T[]> {
  return (value, what) => {
    if (!Array.isArray(value) || value.length < min || value.length > max) {
      throw refuse(what, value, min === max ? `a list of ${min}` : `a list of ${min} to ${max}`)
    }
    return Array.from(value, (entry, i) => item(entry, `${what}[${i}]`))
  }
}

/** Returns the shape of a list with one item for each of `items`. */
export function tuple<T>(items: readonly Shape<T>[]): Shape<readonly T[]> {
  return (value, what) => {
    if (!Array.isArray(value) || value.length !== items.length) throw refuse(what, value, `a list of ${items.length}`)
    return items.map((item, i) => item(value[i], `${what}[${i}]`))
  }
}

/** Returns the shape of an object with exactly these fields. */
export function record<const F extends Shapes>(fields: F): Shape<Fields<F>> {
  return (value, what) => {
    if (!isObject(value)) throw refuse(what, value, 'an object')
    const unknown = Object.keys(value).find((name) => !Object.hasOwn(fields, name))
    if (unknown !== undefined) throw new SnapshotError(`${what} has an unknown field ${JSON.stringify(unknown)}`)
    const read = Object.entries(fields).map(([name, shape]) => {
      return [name, shape(Object.hasOwn(value, name) ? value[name] : undefined, `${what}.${name}`)]
    })
    return Object.fromEntries(read)
  }
}

/** Returns the shape of a value that may be missing, which is null. */
export function nullable<T>(shape: Shape<T>): Shape<T | null> {
  return (value, what) => (value === null ? null : shape(value, what))
}

/** State of a part, whose fields only the part knows. */
export const nested: Shape<SavedState> = (value, what) => {
  if (!isState(value)) throw refuse(what, value, 'a saved state with a version')
  return value
}

/**
 * Declares a saved state once: the table of its fields gives its type, its writer and its checks.
 *
 *     const STATE = stateShape('block', 1, { writeback: flag })
 *     STATE.write({ writeback: true })       // { version: 1, writeback: true }
 *     STATE.read(state).writeback            // or a SnapshotError: "block.writeback is 7, not true or false"
 *
 * @param what name of the state's owner in messages
 */
export function stateShape<const F extends Shapes>(what: string, version: number, fields: F): StateShape<Fields<F>> {
  const shape = record({ version: integer(version, version), ...fields })
  return {
    write: (values) => ({ version, ...(values as Readonly<Record<string, SavedValue>>) }),
    read(state) {
      if (!isState(state)) throw refuse(what, state, 'a saved state with a version')
      if (state.version !== version) throw new SnapshotError(`${what} has version ${state.version}, not ${version}`)
      return shape(state, what) as Fields<F>
    },
  }
}

/** Returns the error for a value that has another shape. @param expected what it must be */
function refuse(what: string, value: SavedValue | undefined, expected: string): SnapshotError {
  return new SnapshotError(`${what} is ${describe(value)}, not ${expected}`)
}

function isObject(value: SavedValue | undefined): value is { readonly [name: string]: SavedValue } {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value)
}

function isState(value: SavedValue | undefined): value is SavedState {
  return isObject(value) && Object.hasOwn(value, 'version') && Number.isInteger(value['version'])
}

function describe(value: SavedValue | undefined): string {
  if (typeof value === 'string') return `a string of ${value.length}`
  if (Array.isArray(value)) return `a list of ${value.length}`
  if (ArrayBuffer.isView(value)) return `${value.constructor.name} of ${(value as SavedArray).length} elements`
  if (typeof value === 'object' && value !== null) return 'an object'
  return value === undefined ? 'missing' : String(value)
}
