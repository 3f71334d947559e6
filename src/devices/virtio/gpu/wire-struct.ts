import type { Reader } from '../../../virtqueue/reader.ts'

/** One kind of value in a message: its size, and how it is read and written. All are little-endian. */
export interface Field<T> {
  readonly size: number
  /** Takes the value off the reader, which has at least `size` bytes. */
  take(reader: Reader): T
  put(view: DataView, offset: number, value: T): void
}

/** Bytes that mean nothing: skipped, and written as 0. */
export interface Padding extends Field<void> {
  readonly padding: true
}

export const u32: Field<number> = {
  size: 4,
  take: (reader) => reader.u32(),
  put: (view, offset, value) => view.setUint32(offset, value, true),
}

/** Exact below 2^53, and never below 2^53 for a value that is above. */
export const u64: Field<number> = {
  size: 8,
  take: (reader) => reader.u64(),
  put: (view, offset, value) => view.setBigUint64(offset, BigInt(value), true),
}

/** All 64 bits of a value whose bits are what counts. */
export const bits64: Field<bigint> = {
  size: 8,
  take: (reader) => BigInt(reader.u32()) | (BigInt(reader.u32()) << 32n),
  put: (view, offset, value) => view.setBigUint64(offset, value, true),
}

export function padding(size: number): Padding {
  return { size, padding: true, take: (reader) => void reader.skip(size), put: () => {} }
}

/** Bytes as they are; a shorter value leaves the rest 0. */
export function byteArray(size: number): Field<Uint8Array> {
  return {
    size,
    take: (reader) => {
      const bytes = new Uint8Array(size)
      reader.read(bytes)
      return bytes
    },
    put: (view, offset, value) => new Uint8Array(view.buffer, view.byteOffset + offset, size).set(value),
  }
}

/** A fixed number of values; where fewer are written, the rest is 0. */
export function array<T>(element: Field<T>, count: number): Field<readonly T[]> {
  return {
    size: element.size * count,
    take: (reader) => Array.from({ length: count }, () => element.take(reader)),
    put: (view, offset, values) => {
      for (const [i, value] of values.entries()) element.put(view, offset + i * element.size, value)
    },
  }
}

/** The fields of a message in their order on the wire. */
type Fields = Readonly<Record<string, Field<unknown>>>
type Values<F extends Fields> = {
  readonly [K in keyof F as F[K] extends Padding ? never : K]: F[K] extends Field<infer T> ? T : never
}

/** A message with a fixed layout; it may be a field of another. */
export interface WireStruct<T> extends Field<T> {
  /** The message, or undefined where the request is too short for it. */
  read(reader: Reader): T | undefined
  encode(value: T): Uint8Array
}

/**
 * Declares a message once: the table of its fields gives its type, its size, its parser and its writer.
 *
 *     const UNREF = wireStruct({ resourceId: u32, padding: padding(4) })
 *     UNREF.read(chain.reader)?.resourceId
 *
 * It makes an object a message: for those that come a few times a second, not for those that come with every frame.
 */
export function wireStruct<const F extends Fields>(fields: F): WireStruct<Values<F>> {
  const entries = Object.entries(fields)
  const size = entries.reduce((sum, [, field]) => sum + field.size, 0)
  const take = (reader: Reader) =>
    Object.fromEntries(entries.map(([name, field]) => [name, field.take(reader)])) as Values<F>
  const put = (view: DataView, offset: number, value: Values<F>) => {
    const values: Readonly<Record<string, unknown>> = value
    let at = offset
    for (const [name, field] of entries) {
      field.put(view, at, values[name])
      at += field.size
    }
  }
  return {
    size,
    take,
    put,
    read: (reader) => (reader.remaining < size ? undefined : take(reader)),
    encode: (value) => {
      const bytes = new Uint8Array(size)
      put(new DataView(bytes.buffer), 0, value)
      return bytes
    },
  }
}
