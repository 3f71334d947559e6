/** Type of one value of a message: its size in bytes, and how to read and write it. */
export interface Field<T> {
  readonly size: number
  get(view: DataView, offset: number): T
  put(view: DataView, offset: number, value: T): void
}

/** Bytes without a meaning: skipped when read, written as 0. */
export interface Padding extends Field<void> {
  readonly padding: true
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

/**
 * Address, size or offset. A value of 2^53 or more is rounded, but never to less than 2^53, so that a check of an upper
 * limit refuses it. A value of 2^64 or more is written as 2^64 - 1.
 */
export const u64: Field<number> = {
  size: 8,
  get: (view, offset) => view.getUint32(offset, true) + view.getUint32(offset + 4, true) * 2 ** 32,
  put: (view, offset, value) => {
    const fits = value < 2 ** 64
    view.setUint32(offset, fits ? value % 2 ** 32 : 0xffff_ffff, true)
    view.setUint32(offset + 4, fits ? Math.floor(value / 2 ** 32) : 0xffff_ffff, true)
  },
}

/** All 64 bits, for sets of bits and opaque values. */
export const bits64: Field<bigint> = {
  size: 8,
  get: (view, offset) => view.getBigUint64(offset, true),
  put: (view, offset, value) => view.setBigUint64(offset, value, true),
}

/** Big-endian, as protocols of the network have them. */
export const u16be: Field<number> = {
  size: 2,
  get: (view, offset) => view.getUint16(offset),
  put: (view, offset, value) => view.setUint16(offset, value),
}

export const u32be: Field<number> = {
  size: 4,
  get: (view, offset) => view.getUint32(offset),
  put: (view, offset, value) => view.setUint32(offset, value),
}

export const bits64be: Field<bigint> = {
  size: 8,
  get: (view, offset) => view.getBigUint64(offset),
  put: (view, offset, value) => view.setBigUint64(offset, value),
}

export function padding(size: number): Padding {
  return { size, padding: true, get: () => {}, put: () => {} }
}

/** Copy of `size` bytes. A shorter value leaves the rest 0, a longer one is cut. */
export function byteArray(size: number): Field<Uint8Array> {
  return {
    size,
    get: (view, offset) => bytesOf(view).slice(offset, offset + size),
    put: (view, offset, value) => bytesOf(view).set(value.subarray(0, size), offset),
  }
}

/** `count` values. A shorter list leaves the rest 0, a longer one is cut. */
export function array<T>(element: Field<T>, count: number): Field<readonly T[]> {
  return {
    size: element.size * count,
    get: (view, offset) => Array.from({ length: count }, (_, i) => element.get(view, offset + i * element.size)),
    put: (view, offset, values) => {
      for (const [i, value] of values.slice(0, count).entries()) element.put(view, offset + i * element.size, value)
    },
  }
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function bytesOf(view: DataView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength)
}
