import type { MemoryRegion } from '../../memory/memory-region.ts'
import type { SpanList } from '../../memory/span-list.ts'
import { Errno } from './errno.ts'
import { addressOf, type CFunction, cFunction, errno } from './ffi.ts'
import { MappedRegion } from './mapping.ts'

// struct iovec on 64-bit systems, 16 bytes                                                     readv(2)
//
//   0         8        16
//   | address | length |
//
const VECTOR_WORDS = 4
/** Maximum number of vectors of one system call. */
const MAX_VECTORS = 1024

// struct msghdr, 56 bytes, on 64-bit systems                                                   sendmsg(2)
//
//   0        8              16        24      32
//   | name   | name length  | vectors | count | control: unused
//
const MSG_WORDS = 14
const MSG_VECTORS = 4
const MSG_COUNT = 6 // u32 indices, of the low words
const MSG_DONTWAIT = 0x40
const MSG_NOSIGNAL = 0x4000

let bound: { readonly readv: CFunction; readonly writev: CFunction; readonly sendmsg: CFunction } | undefined

/** Addresses of arrays that are not mappings, by array. If an engine's memory moves, it becomes a new array. */
const addresses = new WeakMap<Uint8Array, number>()

/**
 * Pieces of memory that one system call reads into or writes from.
 *
 *     vectors.clear()
 *     vectors.addBytes(header, 0, header.length)
 *     vectors.addSpans(data, 0, data.byteLength)
 *     const moved = vectors.write(fd)                      // or -errno
 *
 * Reuse one object for many calls: a call allocates nothing. Added arrays must be large or views of an explicit
 * `ArrayBuffer`, because the garbage collector may move small arrays.
 */
export class IoVectors {
  /** Total bytes of all pieces. */
  byteLength = 0
  readonly #words = new Uint32Array(MAX_VECTORS * VECTOR_WORDS)
  readonly #address = addressOf(this.#words)
  readonly #message = new Uint32Array(MSG_WORDS)
  #count = 0

  clear(): void {
    this.#count = 0
    this.byteLength = 0
  }

  /** True if the maximum number of pieces is reached. */
  get full(): boolean {
    return this.#count === MAX_VECTORS
  }

  /** Adds part of an array. Does nothing if `full`. */
  addBytes(bytes: Uint8Array, offset: number, length: number): void {
    if (!this.full) this.#append(arrayAddress(bytes) + offset, length)
  }

  /** Adds `length` bytes of spans, starting at byte `skip`. Stops when `full`. */
  addSpans({ count, regions, offsets, lengths }: SpanList, skip: number, length: number): void {
    let left = length
    for (let i = 0; i < count && left > 0 && !this.full; i++) {
      if (skip >= lengths[i]) {
        skip -= lengths[i]
        continue
      }
      const take = Math.min(lengths[i] - skip, left)
      this.#append(regionAddress(regions[i]) + offsets[i] + skip, take)
      left -= take
      skip = 0
    }
  }

  /** @returns number of bytes read, or -errno */
  read(fd: number): number {
    return retried(calls().readv, fd, this.#address, this.#count)
  }

  /** @returns number of bytes written, or -errno */
  write(fd: number): number {
    return retried(calls().writev, fd, this.#address, this.#count)
  }

  /** Writes to a socket without waiting, even if a process that shares the socket made it blocking. */
  send(socket: number): number {
    this.#message[MSG_VECTORS] = this.#address
    this.#message[MSG_VECTORS + 1] = this.#address / 2 ** 32
    this.#message[MSG_COUNT] = this.#count
    return retried(calls().sendmsg, socket, this.#message, MSG_DONTWAIT | MSG_NOSIGNAL)
  }

  #append(address: number, length: number): void {
    const at = this.#count++ * VECTOR_WORDS
    this.#words[at] = address
    this.#words[at + 1] = address / 2 ** 32
    this.#words[at + 2] = length
    this.byteLength += length
  }
}

/** Repeats a call that a signal interrupts. @returns its result, or -errno */
function retried(call: CFunction, fd: number, what: number | Uint32Array, how: number): number {
  for (;;) {
    const result = call(fd, what, how)
    if (result >= 0) return result
    const reason = errno()
    if (reason !== Errno.EINTR) return -reason
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
    sendmsg: cFunction('int64_t sendmsg(int fd, const void *message, int flags)'),
  }
  return bound
}
