import { mapFile, type Pages, unmap } from '../address-space.ts'
import { Descriptor } from '../descriptor.ts'
import { Errno } from '../errno.ts'
import { addressOf, type CFunction, cFunction, errno, memoryAt } from '../ffi.ts'
import { SystemCallError } from '../system-call-error.ts'

// System call numbers of all architectures except alpha.
const IO_URING_SETUP = 425
const IO_URING_ENTER = 426

const SETUP_CQSIZE = 1 << 3
const SETUP_COOP_TASKRUN = 1 << 8
const SETUP_SINGLE_ISSUER = 1 << 12
const SETUP_DEFER_TASKRUN = 1 << 13
const FEAT_SINGLE_MMAP = 1 << 0
const FEAT_NODROP = 1 << 1
const FEAT_EXT_ARG = 1 << 8
const FEAT_CQE_SKIP = 1 << 11
/** Required features, all present since Linux 5.17. */
const NEEDED = FEAT_SINGLE_MMAP | FEAT_NODROP | FEAT_EXT_ARG | FEAT_CQE_SKIP
const ENTER_GETEVENTS = 1 << 0
const ENTER_EXT_ARG = 1 << 3
const OFF_SQES = 0x1000_0000

/** Set-up flags, the best first. A kernel refuses flags that it does not know. */
const SETUP_FLAGS = [SETUP_COOP_TASKRUN | SETUP_SINGLE_ISSUER | SETUP_DEFER_TASKRUN, SETUP_COOP_TASKRUN, 0] as const

const SQ_ENTRIES = 512
/**
 * Maximum number of entries submitted at once. Cached data is copied during submission, which delays the first results.
 */
const BATCH = 32
const CQ_ENTRIES = 8192

// struct io_uring_params, 120 bytes                                                            io_uring_setup(2)
//
//   0            4            8       12    16    20         24 .. 40  40      80      120
//   | sq entries | cq entries | flags | ... | ... | features | ...     | sq_off | cq_off |
//
const PARAM_SQ_ENTRIES = 0
const PARAM_CQ_ENTRIES = 1
const PARAM_FLAGS = 2
const PARAM_FEATURES = 5 // u32 indices
// Members of sq_off and cq_off: byte offsets in the mapped ring.
const SQ_HEAD = 10
const SQ_TAIL = 11
const SQ_ARRAY = 16
const CQ_HEAD = 20
const CQ_TAIL = 21
const CQ_CQES = 25

// Submission queue entry, 64 bytes                                                             io_uring_enter(2)
//
//   0        4    8          16        24       28      32          40 .. 64
//   | op ... | fd | offset   | address | length | flags | user data | 0      |
//
const SQE_WORDS = 16
const SQE_BYTES = 64
// Completion queue entry, 16 bytes: user data, result, flags
const CQE_WORDS = 4
const CQE_BYTES = 16

/** Completion flag: more results of the same entry follow. */
const CQE_MORE = 2
/** Submission flag: the entry has a result only if it fails. */
export const SKIP_SUCCESS = 1 << 6

/** Receives the results of an entry. */
export interface Target {
  /**
   * @param result what the system call would return, or -errno
   * @param more true if more results of this entry follow
   */
  completed(result: number, more: boolean): void
}

/** io_uring: a submission queue and a completion queue, shared with the kernel. */
export class Uring {
  readonly #descriptor: Descriptor
  readonly #enter: CFunction
  readonly #ringPages: Pages
  readonly #entryPages: Pages
  /** Heads and tails of both queues, and the completion queue entries. */
  #ring: Int32Array
  #entries: Int32Array
  readonly #sqHead: number
  readonly #sqTail: number
  readonly #sqEntries: number
  readonly #cqHead: number
  readonly #cqTail: number
  readonly #cqes: number
  readonly #cqMask: number
  /** Free-running 32-bit counts of entries added and of results taken, as in the ring. */
  #tail: number
  #head: number
  /** Number of entries not yet submitted. */
  #unsubmitted = 0
  /** Timeout: struct __kernel_timespec, and the argument that points to it, struct io_uring_getevents_arg. */
  readonly #time = new Float64Array(2)
  readonly #timeWords = new Uint32Array(this.#time.buffer)
  readonly #argument = new BigUint64Array(3)

  /** @throws {SystemCallError | Error} if the kernel refuses io_uring, or it lacks a required feature */
  constructor() {
    const params = new Uint32Array(30)
    this.#descriptor = new Descriptor(setUp(params), 'io_uring')
    const fd = this.#descriptor.fd
    try {
      if ((params[PARAM_FEATURES] & NEEDED) !== NEEDED) throw new Error('io_uring lacks features of Linux 5.17')
      const sqEntries = params[PARAM_SQ_ENTRIES]
      const cqEntries = params[PARAM_CQ_ENTRIES]
      const length = Math.max(params[SQ_ARRAY] + sqEntries * 4, params[CQ_CQES] + cqEntries * CQE_BYTES)
      this.#ringPages = mapFile('mapping the rings of io_uring', fd, 0, length)
      this.#entryPages = mapFile('mapping the entries of io_uring', fd, OFF_SQES, sqEntries * SQE_BYTES)
      this.#ring = new Int32Array(memoryAt(this.#ringPages.address, length))
      this.#entries = new Int32Array(memoryAt(this.#entryPages.address, sqEntries * SQE_BYTES))
      this.#sqEntries = sqEntries
      this.#cqMask = cqEntries - 1
      // The index array is the identity: entries are submitted in their order in memory.
      for (let i = 0; i < sqEntries; i++) this.#ring[(params[SQ_ARRAY] >>> 2) + i] = i
    } catch (error) {
      this.#descriptor.close()
      throw error
    }
    this.#sqHead = params[SQ_HEAD] >>> 2
    this.#sqTail = params[SQ_TAIL] >>> 2
    this.#cqHead = params[CQ_HEAD] >>> 2
    this.#cqTail = params[CQ_TAIL] >>> 2
    this.#cqes = params[CQ_CQES] >>> 2
    this.#tail = this.#ring[this.#sqTail]
    this.#head = this.#ring[this.#cqHead]
    this.#argument[2] = BigInt(addressOf(this.#time))
    this.#enter = cFunction(
      'int64_t syscall(int64_t number, int fd, uint32_t submit, uint32_t wait, uint32_t flags, void *argument, size_t size)',
    )
  }

  /**
   * Adds an entry, which a later `enter` submits.
   * @param tag index of the target that receives the results
   * @param flags flags of the operation
   * @param options flags of the entry: `SKIP_SUCCESS`. @default none
   */
  add(
    operation: number,
    fd: number,
    offset: number,
    address: number,
    length: number,
    flags: number,
    tag: number,
    options = 0,
  ): void {
    if (this.#unsubmitted === this.#sqEntries) this.#makeRoom()
    const at = (this.#tail & (this.#sqEntries - 1)) * SQE_WORDS
    const entries = this.#entries
    entries[at] = operation | (options << 8)
    entries[at + 1] = fd
    entries[at + 2] = offset
    entries[at + 3] = Math.floor(offset / 2 ** 32)
    entries[at + 4] = address
    entries[at + 5] = Math.floor(address / 2 ** 32)
    entries[at + 6] = length
    entries[at + 7] = flags
    entries[at + 8] = tag
    for (let i = 9; i < SQE_WORDS; i++) entries[at + i] = 0
    this.#tail = (this.#tail + 1) | 0
    this.#unsubmitted++
  }

  /** True if there are more entries than the next `enter` submits. */
  get behind(): boolean {
    return this.#unsubmitted > BATCH
  }

  /**
   * Submits up to `BATCH` entries. If these are all, sleeps until there is a result or the timeout.
   * @param timeout milliseconds; 0 to return at once, Infinity for no limit
   * @returns false if a signal interrupted the sleep
   */
  enter(timeout: number): boolean {
    const sleeps = timeout > 0 && !this.behind && Atomics.load(this.#ring, this.#cqTail) === this.#head
    if (!sleeps || timeout === Number.POSITIVE_INFINITY) {
      return this.#call(sleeps ? 1 : 0, ENTER_GETEVENTS, null, 8)
    }
    const seconds = Math.floor(timeout / 1000)
    this.#timeWords.fill(0)
    this.#timeWords[0] = seconds
    this.#timeWords[2] = Math.floor((timeout - seconds * 1000) * 1e6)
    return this.#call(1, ENTER_GETEVENTS | ENTER_EXT_ARG, this.#argument, this.#argument.byteLength)
  }

  /** Passes each available result to its target. @returns true if there was one */
  reap(targets: readonly Target[]): boolean {
    const ring = this.#ring
    const tail = Atomics.load(ring, this.#cqTail)
    if (tail === this.#head) return false
    try {
      while (this.#head !== tail) {
        const at = this.#cqes + (this.#head & this.#cqMask) * CQE_WORDS
        this.#head = (this.#head + 1) | 0
        targets[ring[at]].completed(ring[at + 2], (ring[at + 3] & CQE_MORE) !== 0)
      }
    } finally {
      Atomics.store(ring, this.#cqHead, this.#head)
    }
    return true
  }

  close(): void {
    if (this.#descriptor.closed) return
    this.#descriptor.close()
    // Drop the views first: a late access then fails here instead of faulting on unmapped pages.
    this.#ring = this.#entries = new Int32Array(0)
    unmap(this.#ringPages)
    unmap(this.#entryPages)
  }

  /** Submits entries of a full submission queue before the next `enter`. */
  #makeRoom(): void {
    this.#call(0, 0, null, 8)
    if (this.#unsubmitted === this.#sqEntries) throw new Error('the submission queue of io_uring is full')
  }

  #call(wait: number, flags: number, argument: BigUint64Array | null, size: number): boolean {
    Atomics.store(this.#ring, this.#sqTail, this.#tail)
    const fd = this.#descriptor.fd
    const result = this.#enter(IO_URING_ENTER, fd, Math.min(this.#unsubmitted, BATCH), wait, flags, argument, size)
    const reason = result < 0 ? errno() : 0
    // The head says how many entries the kernel took, also if the call failed.
    this.#unsubmitted = (this.#tail - Atomics.load(this.#ring, this.#sqHead)) | 0
    if (reason === 0 || reason === Errno.ETIME || reason === Errno.EAGAIN || reason === Errno.EBUSY) return true
    if (reason === Errno.EINTR) return false
    throw new SystemCallError('io_uring_enter', reason, 'waiting')
  }
}

function setUp(params: Uint32Array): number {
  const setup = cFunction('int64_t syscall(int64_t number, uint32_t entries, void *params)')
  let reason = 0
  for (const flags of SETUP_FLAGS) {
    params.fill(0)
    params[PARAM_FLAGS] = flags | SETUP_CQSIZE
    params[PARAM_CQ_ENTRIES] = CQ_ENTRIES
    const fd = setup(IO_URING_SETUP, SQ_ENTRIES, params)
    if (fd >= 0) return fd
    reason = errno()
    if (reason !== Errno.EINVAL) break
  }
  throw new SystemCallError('io_uring_setup', reason, 'creating an io_uring')
}
