import type { Reply } from '../../../../virtqueue/driver/index.ts'
import type { BlkType } from '../protocol.ts'

/** Returns the 16-byte header of a request. @virtio 5.2.6 */
export function header(type: BlkType | number, sector: number | bigint = 0): Uint8Array {
  const bytes = new Uint8Array(16)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, type, true)
  view.setBigUint64(8, BigInt(sector), true)
  return bytes
}

/** Returns a segment of a discard or write zeroes request. @virtio 5.2.6 */
export function segment(sector: number | bigint, sectors: number, flags = 0): Uint8Array {
  const bytes = new Uint8Array(16)
  const view = new DataView(bytes.buffer)
  view.setBigUint64(0, BigInt(sector), true)
  view.setUint32(8, sectors, true)
  view.setUint32(12, flags, true)
  return bytes
}

/** Returns bytes that depend on sector and seed. */
export function pattern(length: number, seed: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (i * 7 + (i >>> 9) * 31 + seed * 101) & 0xff)
}

/** Returns the status: the last writable byte of a request. */
export function status(reply: Reply | undefined): number | undefined {
  return reply?.parts.at(-1)?.at(-1)
}

/** Splits bytes into parts of these lengths, and one more part with the rest. */
export function cut(bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const parts: Uint8Array[] = []
  let at = 0
  for (const length of cuts) {
    if (at + length >= bytes.length) break
    parts.push(bytes.subarray(at, at + length))
    at += length
  }
  return [...parts, bytes.subarray(at)]
}
