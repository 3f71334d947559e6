import { type Field, type Padding, viewOf } from './field.ts'

type Fields = Readonly<Record<string, Field<unknown>>>
type Values<F extends Fields> = {
  readonly [K in keyof F as F[K] extends Padding ? never : K]: F[K] extends Field<infer T> ? T : never
}

/** Source of bytes in order, such as a descriptor chain's reader. */
interface ByteReader {
  /** Bytes left. */
  readonly remaining: number
  /** Fills `target`, and moves on by its length. */
  read(target: Uint8Array): void
}

/** Message of a fixed layout. It is a field itself, so structs nest. */
export interface Struct<T> extends Field<T> {
  /** Reads the message; undefined if the reader has fewer than `size` bytes. */
  read(reader: ByteReader): T | undefined
  /** Reads the message from the start of at least `size` bytes. */
  decode(bytes: Uint8Array): T
  encode(value: T): Uint8Array
}

/**
 * Declares a message once: the table of its fields, in wire order and without gaps, gives its type, size, parser and writer.
 *
 *     const UNREF = struct({ resourceId: u32, padding: padding(4) })
 *     UNREF.read(chain.reader)?.resourceId
 *
 * Each message becomes an object. Code that runs for every request reads its bytes in place instead.
 */
export function struct<const F extends Fields>(fields: F): Struct<Values<F>> {
  const entries = Object.entries(fields)
  const size = entries.reduce((sum, [, field]) => sum + field.size, 0)
  const $bytes = new Uint8Array(size)
  const $view = viewOf($bytes)
  const get = (view: DataView, offset: number): Values<F> => {
    let at = offset
    const values: Record<string, unknown> = {}
    for (const [name, field] of entries) {
      if (!('padding' in field)) values[name] = field.get(view, at)
      at += field.size
    }
    return values as Values<F>
  }
  const put = (view: DataView, offset: number, value: Values<F>): void => {
    const values: Readonly<Record<string, unknown>> = value
    let at = offset
    for (const [name, field] of entries) {
      field.put(view, at, values[name])
      at += field.size
    }
  }
  return {
    size,
    get,
    put,
    read: (reader) => {
      if (reader.remaining < size) return undefined
      reader.read($bytes)
      return get($view, 0)
    },
    decode: (bytes) => get(viewOf(bytes), 0),
    encode: (value) => {
      const bytes = new Uint8Array(size)
      put(viewOf(bytes), 0, value)
      return bytes
    },
  }
}
