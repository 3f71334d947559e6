import type { Writable } from 'node:stream'

/** Writes to a stream; resolves when its reader, or the system, took the bytes, and also when no reader is left. */
export function written(stream: Writable, bytes: Uint8Array | string): Promise<void> {
  return new Promise((resolve) => {
    stream.write(bytes, () => resolve())
  })
}
