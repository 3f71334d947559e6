import { IoVectors } from '../../host/linux/io-vectors.ts'
import type { SpanList } from '../../memory/span-list.ts'

/**
 * Reads and writes packets directly from and to their spans, each with one system call.
 *
 *     const length = vectors.read(fd, packet)              // or -errno
 *
 * One object serves a whole port, and allocates nothing for a packet.
 */
export class SpanVectors {
  readonly #vectors = new IoVectors()

  /** Reads a packet. @returns bytes read, or -errno */
  read(fd: number, packet: SpanList): number {
    this.#vectors.clear()
    this.#vectors.addSpans(packet, 0, packet.byteLength)
    return this.#vectors.read(fd)
  }

  /** Writes a packet. @returns bytes written, or -errno */
  write(fd: number, packet: SpanList): number {
    this.#vectors.clear()
    this.#vectors.addSpans(packet, 0, packet.byteLength)
    return this.#vectors.write(fd)
  }

  /** Writes a packet with `start` in place of its first span. @returns bytes written, or -errno */
  writeAfter(fd: number, start: Uint8Array, packet: SpanList): number {
    const skip = packet.lengths[0]
    this.#vectors.clear()
    this.#vectors.addBytes(start, 0, start.length)
    this.#vectors.addSpans(packet, skip, packet.byteLength - skip)
    return this.#vectors.write(fd)
  }
}
