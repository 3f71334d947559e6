import type { MemoryRegion } from '../../memory/memory-region.ts'
import type { SpanList } from '../../memory/span-list.ts'
import { Errno } from '../linux/errno.ts'
import { addressOf, type CFunction, cFunction, errno } from '../linux/ffi.ts'
import { MappedRegion } from '../linux/mapping.ts'

// struct iovec on 64-bit systems, 16 bytes                                                     readv(2)
//
//   0         8        16
//   | address | length |
//
const VECTOR_WORDS = 4
/** The most vectors one system call takes, and the most spans a packet has. */
const MOST_VECTORS = 1024

let bound: { readonly readv: CFunction; readonly writev: CFunction } | undefined

/** Where arrays lie that are no mappings: an engine's memory is another array when it moved. */
const addresses = new WeakMap<Uint8Array, number>()

/**
 * Reads and writes packets where their spans lie, each in one system call.
 *
 *     const length = vectors.read(fd, packet)              // or -errno
 *
 * One serves a whole port: the vectors are used again, and nothing is made for a packet.
 */
export class SpanVectors {
  readonly #words = new Uint32Array(MOST_VECTORS * VECTOR_WORDS)
  readonly #address = addressOf(this.#words)
  #count = 0

  /** @returns the bytes read, or -errno */
  read(fd: number, packet: SpanList): number {
    this.#count = 0
    this.#add(packet, 0)
    return this.#call(calls().readv, fd)
  }

  /** @returns the bytes written, or -errno */
  write(fd: number, packet: SpanList): number {
    this.#count = 0
    this.#add(packet, 0)
    return this.#call(calls().writev, fd)
  }

  /** Writes `start` in place of the packet's first span. @returns the bytes written, or -errno */
  writeAfter(fd: number, start: Uint8Array, packet: SpanList): number {
    this.#count = 0
    this.#append(arrayAddress(start), start.length)
    this.#add(packet, 1)
    return this.#call(calls().writev, fd)
  }

  #add({ count, regions, offsets, lengths }: SpanList, first: number): void {
    for (let i = first; i < count && this.#count < MOST_VECTORS; i++) {
      this.#append(regionAddress(regions[i]) + offsets[i], lengths[i])
    }
  }

  #append(address: number, length: number): void {
    const at = this.#count++ * VECTOR_WORDS
    this.#words[at] = address
    this.#words[at + 1] = address / 2 ** 32
    this.#words[at + 2] = length
  }

  #call(call: CFunction, fd: number): number {
    for (;;) {
      const result = call(fd, this.#address, this.#count)
      if (result >= 0) return result
      const reason = errno()
      if (reason !== Errno.EINTR) return -reason
    }
  }
}

function regionAddress(region: MemoryRegion): number {
  return region instanceof MappedRegion ? region.address : arrayAddress(region.u8)
}

function arrayAddress(bytes: Uint8Array): number {
  let address = addresses.get(bytes)
  if (address === undefined) {
    address = addressOf(bytes)
    addresses.set(bytes, address)
  }
  return address
}

function calls() {
  bound ??= {
    readv: cFunction('int64_t readv(int fd, intptr_t vectors, int count)'),
    writev: cFunction('int64_t writev(int fd, intptr_t vectors, int count)'),
  }
  return bound
}
