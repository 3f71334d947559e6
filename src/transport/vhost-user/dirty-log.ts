import type { Mapping } from '../../host/linux/mapping.ts'
import { LOG_PAGE } from './protocol.ts'

/**
 * The log of pages a back-end wrote, for a migration: one bit a page of guest memory, in memory the front-end shares.
 *
 *     byte 0: pages 0 to 7, the lowest bit first; byte 1: pages 8 to 15; ...
 *
 * @vhost-user Migration
 */
export class DirtyLog {
  readonly #mapping: Mapping
  readonly #bytes: Uint8Array

  /**
   * @param mapping the log from the bit of guest address 0 on; it is the log's from now on, whatever happens
   * @throws {RangeError} where it is longer than one view: 1 GiB, which is the log of 32 TiB
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

  /** Marks every page that holds a byte of the range. What the log has no bits for is not logged. */
  mark(address: number, length: number): void {
    if (length === 0) return
    const bytes = this.#bytes
    const last = Math.min(Math.floor((address + length - 1) / LOG_PAGE), bytes.length * 8 - 1)
    for (let page = Math.floor(address / LOG_PAGE); page <= last; page++) {
      const byte = Math.floor(page / 8)
      const bit = 1 << (page % 8)
      // The front-end takes bits away meanwhile.
      if ((Atomics.load(bytes, byte) & bit) === 0) Atomics.or(bytes, byte, bit)
    }
  }

  close(): void {
    this.#mapping.close()
  }
}
