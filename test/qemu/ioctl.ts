import { addressOf } from '../../src/host/linux/ffi.ts'

/** An argument of 32-bit words; numbers beyond are two of them. */
export function words(...values: readonly number[]): Uint32Array {
  return Uint32Array.from(values)
}

export function pointer(array: ArrayBufferView): [low: number, high: number] {
  const address = addressOf(array)
  return [address >>> 0, Math.floor(address / 2 ** 32)]
}
