import { addressOf } from '../../src/host/linux/ffi.ts'
import { systemCall } from '../../src/host/linux/system-call.ts'

/** What a program of the guest asks of a graphics driver. */
export const ioctl = systemCall<[fd: number, request: number, argument: ArrayBufferView]>(
  'int ioctl(int fd, unsigned long request, void *argument)',
)

/** An argument of 32-bit words; numbers beyond are two of them. */
export function words(...values: readonly number[]): Uint32Array {
  return Uint32Array.from(values)
}

export function pointer(array: ArrayBufferView): [low: number, high: number] {
  const address = addressOf(array)
  return [address >>> 0, Math.floor(address / 2 ** 32)]
}
