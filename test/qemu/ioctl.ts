import { addressOf } from '../../src/host/linux/ffi.ts'
import { systemCall } from '../../src/host/linux/system-call.ts'

/** System call to a graphics driver, for programs of the guest. */
export const ioctl = systemCall<[fd: number, request: number, argument: ArrayBufferView]>(
  'int ioctl(int fd, unsigned long request, void *argument)',
)

/** Encodes an argument as 32-bit words; larger numbers take two words. */
export function words(...values: readonly number[]): Uint32Array {
  return Uint32Array.from(values)
}

export function pointer(array: ArrayBufferView): [low: number, high: number] {
  const address = addressOf(array)
  return [address >>> 0, Math.floor(address / 2 ** 32)]
}
