import type { SpanList } from '../../../memory/span-list.ts'
import { Errno } from '../errno.ts'
import { addressOf } from '../ffi.ts'
import { MappedRegion } from '../mapping.ts'

export const OperationKind = { READ: 0, WRITE: 1, SYNC: 2, ALLOCATE: 3 } as const
export type OperationKind = (typeof OperationKind)[keyof typeof OperationKind]

/** Receives the result of an operation. One object serves all operations of a request, so that none is allocated. */
export interface Completion {
  /** @param result bytes moved, fewer than requested only at the end of the file; 0 for SYNC and ALLOCATE; or -errno */
  done(result: number): void
}

// struct iovec on 64-bit systems, 16 bytes                                                     readv(2)
//
//   0         8        16
//   | address | length |
//
const VECTOR_WORDS = 4
/** Maximum number of vectors of one system call. */
const MAX_VECTORS = 1024
/** Maximum bytes that one system call moves. */
const MAX_BYTES = 0x7fff_0000

const NO_COMPLETION: Completion = { done() {} }
const NO_SPANS = { count: 0, byteLength: 0, regions: [], offsets: new Uint32Array(0), lengths: new Uint32Array(0) }

/**
 * File operation: read, write, sync or allocate. After a system call that moved fewer bytes than requested, the
 * operation is started again for the rest. Operations are reused.
 */
export class Operation {
  kind: OperationKind = OperationKind.SYNC
  fd = -1
  /** Offset in the file of the remaining part, in bytes. */
  offset = 0
  /** WRITE: true if the file was opened with O_DIRECT, so that data bypasses the page cache. */
  direct = false
  /** ALLOCATE: length in bytes, and flags of fallocate(2). */
  length = 0
  mode = 0
  /** READ and WRITE: vectors of the remaining bytes, up to the limits of one system call. */
  vectorsAddress = 0
  vectorCount = 0
  /** Tag that the backend assigned; -1 before the first start. */
  tag = -1
  /** First vector: address and length in bytes. */
  firstAddress = 0
  firstLength = 0
  #vectors = new Uint32Array(0)
  #completion = NO_COMPLETION
  #spans: Pick<SpanList, 'count' | 'byteLength' | 'regions' | 'offsets' | 'lengths'> = NO_SPANS
  /** Bytes moved so far. The remaining bytes begin at byte `#skip` of span `#span`. */
  #moved = 0
  #span = 0
  #skip = 0
  readonly #release: (operation: Operation) => void

  /** @param release called when the operation can be reused */
  constructor(release: (operation: Operation) => void) {
    this.#release = release
    this.#grow(16)
  }

  /** Becomes a READ or WRITE of all spans, each in a mapping, at byte `offset` of the file. */
  beginMove(
    kind: typeof OperationKind.READ | typeof OperationKind.WRITE,
    fd: number,
    offset: number,
    spans: SpanList,
    completion: Completion,
    direct = false,
  ): void {
    this.kind = kind
    this.direct = direct
    this.fd = fd
    this.offset = offset
    this.#spans = spans
    this.#completion = completion
    this.#moved = 0
    this.#span = 0
    this.#skip = 0
    this.#prepare()
  }

  beginSync(fd: number, completion: Completion): void {
    this.kind = OperationKind.SYNC
    this.fd = fd
    this.#completion = completion
  }

  beginAllocate(fd: number, mode: number, offset: number, length: number, completion: Completion): void {
    this.kind = OperationKind.ALLOCATE
    this.fd = fd
    this.mode = mode
    this.offset = offset
    this.length = length
    this.#completion = completion
  }

  /** READ and WRITE: remaining bytes. */
  get remaining(): number {
    return this.#spans.byteLength - this.#moved
  }

  /**
   * Handles the result of a system call. Calls the completion if the operation is finished.
   * @param result result of the call, or -errno
   * @returns true if the operation must be started again for the rest
   */
  advance(result: number): boolean {
    if (result === -Errno.EINTR || result === -Errno.EAGAIN) return true
    if (this.kind > OperationKind.WRITE || result <= 0) {
      this.#finish(result < 0 ? result : this.#moved)
      return false
    }
    this.#moved += result
    if (this.#moved === this.#spans.byteLength) {
      this.#finish(this.#moved)
      return false
    }
    this.offset += result
    this.#skip += result
    while (this.#skip >= this.#spans.lengths[this.#span]) this.#skip -= this.#spans.lengths[this.#span++]
    this.#prepare()
    return true
  }

  #finish(result: number): void {
    const completion = this.#completion
    this.#completion = NO_COMPLETION
    this.#spans = NO_SPANS
    this.#moved = 0
    this.#release(this)
    completion.done(result)
  }

  #prepare(): void {
    const { regions, offsets, lengths, count } = this.#spans
    const vectors = Math.min(count - this.#span, MAX_VECTORS)
    if (vectors * VECTOR_WORDS > this.#vectors.length) this.#grow(vectors)
    let skip = this.#skip
    let left = MAX_BYTES
    let used = 0
    for (; used < vectors && left > 0; used++) {
      const i = this.#span + used
      const region = regions[i]
      if (!(region instanceof MappedRegion))
        throw new RangeError('I/O needs mapped memory: the kernel cannot access other regions')
      const address = region.address + offsets[i] + skip
      const length = Math.min(lengths[i] - skip, left)
      const at = used * VECTOR_WORDS
      this.#vectors[at] = address
      this.#vectors[at + 1] = address / 2 ** 32
      this.#vectors[at + 2] = length
      this.#vectors[at + 3] = 0
      if (used === 0) {
        this.firstAddress = address
        this.firstLength = length
      }
      left -= length
      skip = 0
    }
    this.vectorCount = used
  }

  #grow(vectors: number): void {
    const room = 2 ** Math.ceil(Math.log2(vectors))
    this.#vectors = new Uint32Array(room * VECTOR_WORDS)
    this.vectorsAddress = addressOf(this.#vectors)
  }
}
