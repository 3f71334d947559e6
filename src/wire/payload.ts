import { type Field, viewOf } from './field.ts'

/** A message that does not have the layout or the size that its kind prescribes. */
export class MessageError extends Error {
  override readonly name: string = 'MessageError'
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
