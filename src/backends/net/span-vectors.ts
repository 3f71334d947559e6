import { IoVectors } from '../../host/linux/io-vectors.ts'
import type { SpanList } from '../../memory/span-list.ts'

/**
 * Reads and writes packets where their spans lie, each in one system call.
 *
 *     const length = vectors.read(fd, packet)              // or -errno
 *
 * One serves a whole port, and nothing is made for a packet.
 */
export class SpanVectors {
  readonly #vectors = new IoVectors()

  /** @returns the bytes read, or -errno */
  read(fd: number, packet: SpanList): number {
    this.#vectors.clear()
    this.#vectors.addSpans(packet, 0, packet.byteLength)
    return this.#vectors.read(fd)
  }

  /** @returns the bytes written, or -errno */
  write(fd: number, packet: SpanList): number {
    this.#vectors.clear()
    this.#vectors.addSpans(packet, 0, packet.byteLength)
    return this.#vectors.write(fd)
  }

  /** Writes `start` in place of the packet's first span. @returns the bytes written, or -errno */
  writeAfter(fd: number, start: Uint8Array, packet: SpanList): number {
    const skip = packet.lengths[0]
    this.#vectors.clear()
    this.#vectors.addBytes(start, 0, start.length)
    this.#vectors.addSpans(packet, skip, packet.byteLength - skip)
    return this.#vectors.write(fd)
  }
}
