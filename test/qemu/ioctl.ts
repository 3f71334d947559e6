import { addressOf } from '../../src/host/linux/ffi.ts'

/** Encodes an argument as 32-bit words; larger numbers take two words. */
export function words(...values: readonly number[]): Uint32Array {
  return Uint32Array.from(values)
}

export function pointer(array: ArrayBufferView): [low: number, high: number] {
  const address = addressOf(array)
  return [address >>> 0, Math.floor(address / 2 ** 32)]
}
