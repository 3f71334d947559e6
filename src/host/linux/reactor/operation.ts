import type { SpanList } from '../../../memory/span-list.ts'
import { Errno } from '../errno.ts'
import { addressOf } from '../ffi.ts'
import { MappedRegion } from '../mapping.ts'

export const OperationKind = { READ: 0, WRITE: 1, SYNC: 2, ALLOCATE: 3 } as const
export type OperationKind = (typeof OperationKind)[keyof typeof OperationKind]

/** Receives the result of an operation. One object serves all operations of a request, so that none is allocated. */
export interface Completion {
  /** @param result bytes moved, fewer only where the file ended; 0 where nothing is counted; or -errno */
  done(result: number): void
}

// struct iovec on 64-bit systems, 16 bytes                                                     readv(2)
//
//   0         8        16
//   | address | length |
//
const VECTOR_WORDS = 4
/** The most vectors one system call takes. */
const MAX_VECTORS = 1024
/** The most bytes one system call moves. */
const MAX_BYTES = 0x7fff_0000

const NO_COMPLETION: Completion = { done() {} }
const NO_SPANS = { count: 0, byteLength: 0, regions: [], offsets: new Uint32Array(0), lengths: new Uint32Array(0) }

/**
 * Something to be done with a file, until it is all done: what moved less than it should is started again for the rest.
 * Operations are used again and again.
 */
export class Operation {
  kind: OperationKind = OperationKind.SYNC
  fd = -1
  /** Where in the file what is left begins. */
  offset = 0
  /** WRITE: whether it goes to the disk, rather than to the page cache. */
  direct = false
  /** ALLOCATE: the range, and how; fallocate(2). */
  length = 0
  mode = 0
  /** READ and WRITE: vectors of what is left, or of as much of it as one system call takes. */
  vectorsAddress = 0
  vectorCount = 0
  /** What the port knows it by; -1 before the first time. */
  tag = -1
  /** Of what is left, the first vector. */
  firstAddress = 0
  firstLength = 0
  #vectors = new Uint32Array(0)
  #completion = NO_COMPLETION
  #spans: Pick<SpanList, 'count' | 'byteLength' | 'regions' | 'offsets' | 'lengths'> = NO_SPANS
  /** Bytes moved so far, and where what is left begins. */
  #moved = 0
  #span = 0
  #skip = 0
  readonly #release: (operation: Operation) => void

  /** @param release called when it is free to be used again */
  constructor(release: (operation: Operation) => void) {
    this.#release = release
    this.#grow(16)
  }

  /** Becomes reading or writing all of the spans, each in a mapping, from `offset` in the file on. */
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

  /** READ and WRITE: bytes still to be moved. */
  get left(): number {
    return this.#spans.byteLength - this.#moved
  }

  /**
   * Takes what a system call did.
   * @param result what it returned, or -errno
   * @returns whether there is more to do: it is to be started again
   */
  took(result: number): boolean {
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
      if (!(region instanceof MappedRegion)) throw new RangeError('the kernel cannot reach memory that is no mapping')
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
