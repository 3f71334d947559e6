import { MessageError } from './message-error.ts'

/** One kind of value in a payload: how it is read and written. */
export interface Field<T> {
  readonly size: number
  get(view: DataView, offset: number): T
  put(view: DataView, offset: number, value: T): void
}

export const u8: Field<number> = {
  size: 1,
  get: (view, offset) => view.getUint8(offset),
  put: (view, offset, value) => view.setUint8(offset, value),
}

export const u16: Field<number> = {
  size: 2,
  get: (view, offset) => view.getUint16(offset, true),
  put: (view, offset, value) => view.setUint16(offset, value, true),
}

export const u32: Field<number> = {
  size: 4,
  get: (view, offset) => view.getUint32(offset, true),
  put: (view, offset, value) => view.setUint32(offset, value, true),
}

/** A set of bits. */
export const bits: Field<bigint> = {
  size: 8,
  get: (view, offset) => view.getBigUint64(offset, true),
  put: (view, offset, value) => view.setBigUint64(offset, value, true),
}

/**
 * An address, size or offset. One of 2^53 or more is not exact, and never below that, not even where it is passed on: who
 * uses it has to refuse it.
 */
export const u64: Field<number> = {
  size: 8,
  get: (view, offset) => Number(view.getBigUint64(offset, true)),
  put: (view, offset, value) => view.setBigUint64(offset, value < 2 ** 64 ? BigInt(value) : MAX_U64, true),
}
const MAX_U64 = 2n ** 64n - 1n

export function byteArray(size: number): Field<Uint8Array> {
  return {
    size,
    get: (view, offset) => bytesOf(view).slice(offset, offset + size),
    put: (view, offset, value) => bytesOf(view).set(value.subarray(0, size), offset),
  }
}

/** A fixed number of values; where fewer are written, the rest is 0. */
export function array<T>(element: Field<T>, count: number): Field<readonly T[]> {
  return {
    size: element.size * count,
    get: (view, offset) => Array.from({ length: count }, (_, i) => element.get(view, offset + i * element.size)),
    put: (view, offset, values) => {
      for (const [i, value] of values.slice(0, count).entries()) element.put(view, offset + i * element.size, value)
    },
  }
}

export interface Padding extends Field<void> {
  readonly padding: true
}

export function padding(size: number): Padding {
  return { size, padding: true, get: () => {}, put: () => {} }
}

type Fields = Readonly<Record<string, Field<unknown>>>
type Values<F extends Fields> = {
  readonly [K in keyof F as F[K] extends Padding ? never : K]: F[K] extends Field<infer T> ? T : never
}

/** Fields in their order on the wire, without gaps. */
export function record<const F extends Fields>(fields: F): Field<Values<F>> {
  const entries = Object.entries(fields)
  const size = entries.reduce((sum, [, field]) => sum + field.size, 0)
  return {
    size,
    get: (view, offset) => {
      let at = offset
      const values: Record<string, unknown> = {}
      for (const [name, field] of entries) {
        if (!('padding' in field)) values[name] = field.get(view, at)
        at += field.size
      }
      return values as Values<F>
    },
    put: (view, offset, value) => {
      const values: Readonly<Record<string, unknown>> = value
      let at = offset
      for (const [name, field] of entries) {
        field.put(view, at, values[name])
        at += field.size
      }
    },
  }
}

/** A whole payload: its parser and its writer. */
export interface Payload<T> {
  /** @throws {MessageError} where the size is wrong, or wrong for what it says */
  parse(bytes: Uint8Array): T
  write(value: T): Uint8Array
}

/** One that has always the same size. @param slack bytes that some send after it, and that mean nothing */
export function fixed<T>(field: Field<T>, slack = 0): Payload<T> {
  return {
    parse: (bytes) => {
      if (bytes.length !== field.size + slack) expect(bytes, field.size)
      return field.get(viewOf(bytes), 0)
    },
    write: (value) => {
      const bytes = new Uint8Array(field.size + slack)
      field.put(viewOf(bytes), 0, value)
      return bytes
    },
  }
}

export const nothing: Payload<void> = {
  parse: (bytes) => expect(bytes, 0),
  write: () => new Uint8Array(0),
}

/** One that is not looked at: of a message that is refused whatever it says. */
export const anything: Payload<Uint8Array> = {
  parse: (bytes) => bytes,
  write: (bytes) => bytes,
}

/** A head that tells how many elements follow it. */
export function counted<H, T>(
  head: Field<H>,
  count: (head: H) => number,
  element: Field<T>,
): Payload<H & { readonly elements: readonly T[] }> {
  return {
    parse: (bytes) => {
      const value = headOf(bytes, head)
      expect(bytes, head.size + count(value) * element.size)
      const view = viewOf(bytes)
      const at = (i: number) => head.size + i * element.size
      return { ...value, elements: Array.from({ length: count(value) }, (_, i) => element.get(view, at(i))) }
    },
    write: (value) => {
      const bytes = new Uint8Array(head.size + value.elements.length * element.size)
      const view = viewOf(bytes)
      head.put(view, 0, value)
      for (const [i, one] of value.elements.entries()) element.put(view, head.size + i * element.size, one)
      return bytes
    },
  }
}

/** A head that tells how many bytes follow it, if it does. */
export function withBytes<H>(
  head: Field<H>,
  count: ((head: H) => number) | undefined,
): Payload<H & { readonly bytes: Uint8Array }> {
  return {
    parse: (bytes) => {
      const value = headOf(bytes, head)
      if (count) expect(bytes, head.size + count(value))
      return { ...value, bytes: bytes.slice(head.size) }
    },
    write: (value) => {
      const bytes = new Uint8Array(head.size + value.bytes.length)
      head.put(viewOf(bytes), 0, value)
      bytes.set(value.bytes, head.size)
      return bytes
    },
  }
}

/** A head with whatever follows it. */
export function followed<H>(head: Field<H>): Payload<H & { readonly bytes: Uint8Array }> {
  return withBytes(head, undefined)
}

function headOf<H>(bytes: Uint8Array, head: Field<H>): H {
  if (bytes.length < head.size) throw new MessageError(`${bytes.length} bytes are less than its ${head.size}`)
  return head.get(viewOf(bytes), 0)
}

function expect(bytes: Uint8Array, size: number): void {
  if (bytes.length !== size) throw new MessageError(`${bytes.length} bytes instead of ${size}`)
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
}

function bytesOf(view: DataView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength)
}
