import { padding, u16, u32, viewOf } from '../wire/field.ts'
import { struct } from '../wire/struct.ts'
import type { SavedArray, SavedState, SavedValue } from './saved-state.ts'
import { SnapshotError } from './snapshot-error.ts'

// Encoded state, little-endian
//
//   0       4        6     8        12
//   | magic | format |     | length | value of `length` bytes |
//
const HEADER = struct({ magic: u32, format: u16, padding: padding(2), length: u32 })
/** The bytes "OBST". */
const MAGIC = 0x5453_424f
const FORMAT = 1

// Value: a tag, 1 byte, and then
//
//   NULL, FALSE, TRUE   nothing
//   NUMBER              IEEE 754, 8 bytes
//   BIGINT              count (1 byte), then `count` bytes, lowest first
//   STRING              length in bytes (4 bytes), then UTF-8
//   U8, U16, U32, F64   length in bytes (4 bytes), then the elements
//   LIST                count (4 bytes), then the values
//   OBJECT              count (4 bytes), then for each field its name, as a STRING without a tag, and its value
//
const Tag = {
  NULL: 0,
  FALSE: 1,
  TRUE: 2,
  NUMBER: 3,
  BIGINT: 4,
  STRING: 5,
  U8: 6,
  U16: 7,
  U32: 8,
  F64: 9,
  LIST: 10,
  OBJECT: 11,
} as const

/** Maximum depth of lists and objects in each other. */
const MAX_DEPTH = 16
/** Maximum size of a bigint in bytes. */
const MAX_BIGINT = 16
/** Maximum size of an encoded state in bytes. */
const MAX_STATE = 2 ** 31

/**
 * Returns a saved state as bytes, in which all typed arrays are copied.
 * @throws {SnapshotError} if it holds what no encoded state can hold
 */
export function encodeState(state: SavedState): Uint8Array {
  const encoder = new Encoder()
  encoder.value(state, MAX_DEPTH)
  return encoder.finish()
}

/**
 * Returns the saved state of `encodeState`. The bytes may come from a hostile source: the memory that decoding takes is
 * proportional to their number.
 * @throws {SnapshotError} if the bytes are not a whole encoded state
 */
export function decodeState(bytes: Uint8Array): SavedState {
  const header = bytes.length < HEADER.size ? undefined : HEADER.decode(bytes)
  if (header?.magic !== MAGIC) throw new SnapshotError('the bytes are not a saved state: they begin otherwise')
  if (header.format !== FORMAT) throw new SnapshotError(`format ${header.format} of the saved state is not ${FORMAT}`)
  if (header.length !== bytes.length - HEADER.size) {
    throw new SnapshotError(`the saved state has ${bytes.length - HEADER.size} bytes, not ${header.length}`)
  }
  const decoder = new Decoder(bytes, HEADER.size)
  const state = decoder.value(MAX_DEPTH)
  decoder.end()
  if (!isState(state)) throw new SnapshotError('the saved state has no version')
  return state
}

function isState(value: SavedValue): value is SavedState {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, 'version')
}

class Encoder {
  #bytes = new Uint8Array(1024)
  #view = viewOf(this.#bytes)
  #length: number = HEADER.size

  value(value: SavedValue, depth: number): void {
    if (value === null) this.#u8(Tag.NULL)
    else if (typeof value === 'boolean') this.#u8(value ? Tag.TRUE : Tag.FALSE)
    else if (typeof value === 'number') this.#number(value)
    else if (typeof value === 'bigint') this.#bigint(value)
    else if (typeof value === 'string') {
      this.#u8(Tag.STRING)
      this.#string(value)
    } else if (value instanceof Uint8Array) this.#elements(Tag.U8, value)
    else if (value instanceof Uint16Array) this.#elements(Tag.U16, value)
    else if (value instanceof Uint32Array) this.#elements(Tag.U32, value)
    else if (value instanceof Float64Array) this.#elements(Tag.F64, value)
    else if (depth === 0) throw new SnapshotError(`a state must not be deeper than ${MAX_DEPTH} lists and objects`)
    else if (isList(value)) {
      this.#u8(Tag.LIST)
      this.#u32(value.length)
      for (const item of value) this.value(item, depth - 1)
    } else if (typeof value === 'object') {
      const fields = Object.entries(value)
      this.#u8(Tag.OBJECT)
      this.#u32(fields.length)
      for (const [name, field] of fields) {
        this.#string(name)
        this.value(field, depth - 1)
      }
    } else throw new SnapshotError(`a state must not hold ${typeof value}`)
  }

  finish(): Uint8Array {
    const bytes = this.#bytes.subarray(0, this.#length)
    HEADER.put(viewOf(bytes), 0, { magic: MAGIC, format: FORMAT, length: this.#length - HEADER.size })
    return bytes
  }

  #number(value: number): void {
    this.#u8(Tag.NUMBER)
    const at = this.#reserve(8)
    this.#view.setFloat64(at, value, true)
  }

  #bigint(value: bigint): void {
    if (value < 0n || value >> BigInt(8 * MAX_BIGINT) !== 0n) {
      throw new SnapshotError(`a bigint of a state must be unsigned and have at most ${8 * MAX_BIGINT} bits`)
    }
    const digits: number[] = []
    for (let rest = value; rest > 0n; rest >>= 8n) digits.push(Number(rest & 0xffn))
    this.#u8(Tag.BIGINT)
    this.#u8(digits.length)
    this.#append(Uint8Array.from(digits))
  }

  #string(value: string): void {
    const bytes = new TextEncoder().encode(value)
    this.#u32(bytes.length)
    this.#append(bytes)
  }

  #elements(tag: number, array: SavedArray): void {
    this.#u8(tag)
    this.#u32(array.byteLength)
    this.#append(new Uint8Array(array.buffer, array.byteOffset, array.byteLength))
  }

  #u8(value: number): void {
    const at = this.#reserve(1)
    this.#bytes[at] = value
  }

  #u32(value: number): void {
    const at = this.#reserve(4)
    this.#view.setUint32(at, value, true)
  }

  #append(bytes: Uint8Array): void {
    const at = this.#reserve(bytes.length)
    this.#bytes.set(bytes, at)
  }

  /** Makes room for `length` bytes at the end. @returns their offset */
  #reserve(length: number): number {
    const at = this.#length
    const end = at + length
    if (end > MAX_STATE) throw new SnapshotError(`a state must not have more than ${MAX_STATE} bytes`)
    if (end > this.#bytes.length) {
      const larger = new Uint8Array(Math.min(MAX_STATE, Math.max(end, 2 * this.#bytes.length)))
      larger.set(this.#bytes.subarray(0, at))
      this.#bytes = larger
      this.#view = viewOf(larger)
    }
    this.#length = end
    return at
  }
}

class Decoder {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #at: number

  constructor(bytes: Uint8Array, from: number) {
    // Not a Buffer, whose `slice` does not copy.
    this.#bytes = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#view = viewOf(bytes)
    this.#at = from
  }

  value(depth: number): SavedValue {
    const tag = this.#bytes[this.#take(1)]
    switch (tag) {
      case Tag.NULL:
        return null
      case Tag.FALSE:
      case Tag.TRUE:
        return tag === Tag.TRUE
      case Tag.NUMBER:
        return this.#view.getFloat64(this.#take(8), true)
      case Tag.BIGINT:
        return this.#bigint()
      case Tag.STRING:
        return this.#string()
      case Tag.U8:
        return this.#copy()
      case Tag.U16:
        return new Uint16Array(this.#copy(2).buffer)
      case Tag.U32:
        return new Uint32Array(this.#copy(4).buffer)
      case Tag.F64:
        return new Float64Array(this.#copy(8).buffer)
      case Tag.LIST:
      case Tag.OBJECT:
        if (depth === 0) throw new SnapshotError(`the saved state is deeper than ${MAX_DEPTH} lists and objects`)
        return tag === Tag.LIST ? this.#list(depth - 1) : this.#object(depth - 1)
      default:
        throw new SnapshotError(`the saved state has an unknown tag ${tag} at byte ${this.#at - 1}`)
    }
  }

  end(): void {
    const rest = this.#bytes.length - this.#at
    if (rest !== 0) throw new SnapshotError(`${rest} bytes follow the saved state`)
  }

  #bigint(): bigint {
    const count = this.#bytes[this.#take(1)]
    if (count > MAX_BIGINT) throw new SnapshotError(`a bigint of the saved state has ${count} bytes`)
    const at = this.#take(count)
    let value = 0n
    for (let i = count - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.#bytes[at + i])
    return value
  }

  #string(): string {
    const length = this.#count()
    const at = this.#take(length)
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(this.#bytes.subarray(at, at + length))
    } catch {
      throw new SnapshotError(`the saved state has a string that is not UTF-8 at byte ${at}`)
    }
  }

  #copy(width = 1): Uint8Array {
    const length = this.#count()
    if (length % width !== 0) throw new SnapshotError(`${length} bytes are not elements of ${width} bytes`)
    const at = this.#take(length)
    return this.#bytes.slice(at, at + length)
  }

  /** Not allocated ahead: each item takes at least one byte, so a count that is too large ends at the last byte. */
  #list(depth: number): SavedValue[] {
    const items: SavedValue[] = []
    for (let left = this.#count(); left > 0; left--) items.push(this.value(depth))
    return items
  }

  #object(depth: number): { readonly [name: string]: SavedValue } {
    const fields = new Map<string, SavedValue>()
    for (let left = this.#count(); left > 0; left--) {
      const name = this.#string()
      if (fields.has(name)) throw new SnapshotError(`the saved state has two fields ${JSON.stringify(name)}`)
      fields.set(name, this.value(depth))
    }
    return Object.fromEntries(fields)
  }

  #count(): number {
    return this.#view.getUint32(this.#take(4), true)
  }

  /** Moves past `length` bytes. @returns their offset */
  #take(length: number): number {
    const at = this.#at
    if (length > this.#bytes.length - at) throw new SnapshotError(`the saved state ends within a value at byte ${at}`)
    this.#at = at + length
    return at
  }
}

function isList(value: SavedValue): value is readonly SavedValue[] {
  return Array.isArray(value)
}
