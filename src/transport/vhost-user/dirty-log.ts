import type { Mapping } from '../../host/linux/mapping.ts'
import { LOG_PAGE } from './protocol.ts'

/**
 * Log of the guest pages that the back-end wrote, for a migration: one bit a page, in memory that the front-end shares.
 *
 *     byte 0: pages 0 to 7, the lowest bit first; byte 1: pages 8 to 15; ...
 *
 * @vhost-user Migration
 */
export class DirtyLog {
  readonly #mapping: Mapping
  readonly #bytes: Uint8Array

  /**
   * Takes ownership of the mapping, even if the call fails.
   * @param mapping the log, starting with the bit of guest address 0
   * @throws {RangeError} if it exceeds one view of 1 GiB, which logs 32 TiB
   */
  constructor(mapping: Mapping) {
    this.#mapping = mapping
    try {
      this.#bytes = mapping.bytes
    } catch (error) {
      mapping.close()
      throw error
    }
  }

  /** Marks every page that contains a byte of the range. Pages past the end of the log are ignored. */
  mark(address: number, length: number): void {
    if (length === 0) return
    const bytes = this.#bytes
    const last = Math.min(Math.floor((address + length - 1) / LOG_PAGE), bytes.length * 8 - 1)
    for (let page = Math.floor(address / LOG_PAGE); page <= last; page++) {
      const byte = Math.floor(page / 8)
      const bit = 1 << (page % 8)
      // The front-end clears bits at the same time.
      if ((Atomics.load(bytes, byte) & bit) === 0) Atomics.or(bytes, byte, bit)
    }
  }

  close(): void {
    this.#mapping.close()
  }
}
