import { mapFile, type Pages, unmap } from '../address-space.ts'
import { Descriptor } from '../descriptor.ts'
import { Errno } from '../errno.ts'
import { addressOf, type CFunction, cFunction, errno, memoryAt } from '../ffi.ts'
import { SystemCallError } from '../system-call-error.ts'

// The same on all architectures but alpha.
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
/** What the port relies on: Linux 5.17 has it all. */
const NEEDED = FEAT_SINGLE_MMAP | FEAT_NODROP | FEAT_EXT_ARG | FEAT_CQE_SKIP
const ENTER_GETEVENTS = 1 << 0
const ENTER_EXT_ARG = 1 << 3
const OFF_SQES = 0x1000_0000

/** Ways to set a ring up, the best first. A kernel refuses those it does not know. */
const WAYS = [SETUP_COOP_TASKRUN | SETUP_SINGLE_ISSUER | SETUP_DEFER_TASKRUN, SETUP_COOP_TASKRUN, 0] as const

const SQ_ENTRIES = 512
/** Entries submitted at once. What the page cache has is moved while they are: the first results shall not wait for hundreds. */
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
// In sq_off and cq_off, where in the mapped ring these are:
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

/** More results of the same entry will come. */
const CQE_MORE = 2
/** To a submission entry: no result is wanted but a failure. */
export const SKIP_SUCCESS = 1 << 6

/** What the submission of an entry comes back as. */
export interface Target {
  /**
   * @param result what the system call would return, or -errno
   * @param more whether this entry's results go on
   */
  completed(result: number, more: boolean): void
}

/** The rings a program and the kernel share: entries go in with one system call a turn, results are there to be read. */
export class Uring {
  readonly #descriptor: Descriptor
  readonly #enter: CFunction
  readonly #ringPages: Pages
  readonly #entryPages: Pages
  /** Heads and tails, and the results. */
  #ring: Int32Array
  #entries: Int32Array
  readonly #sqHead: number
  readonly #sqTail: number
  readonly #sqEntries: number
  readonly #cqHead: number
  readonly #cqTail: number
  readonly #cqes: number
  readonly #cqMask: number
  /** Entries made, and results taken, since the beginning; 32 bits, as in the ring. */
  #tail: number
  #head: number
  /** Number of entries that were not submitted. */
  #unsubmitted = 0
  /** How long to sleep: struct __kernel_timespec, and the argument that points to it. */
  readonly #time = new Float64Array(2)
  readonly #timeWords = new Uint32Array(this.#time.buffer)
  readonly #argument = new BigUint64Array(3)

  /** @throws {SystemCallError} where the kernel refuses, {Error} where its `io_uring` lacks something */
  constructor() {
    const params = new Uint32Array(30)
    this.#descriptor = new Descriptor(setUp(params), 'io_uring')
    const fd = this.#descriptor.fd
    try {
      if ((params[PARAM_FEATURES] & NEEDED) !== NEEDED) throw new Error('its io_uring lacks what Linux 5.17 has')
      const sqEntries = params[PARAM_SQ_ENTRIES]
      const cqEntries = params[PARAM_CQ_ENTRIES]
      const length = Math.max(params[SQ_ARRAY] + sqEntries * 4, params[CQ_CQES] + cqEntries * CQE_BYTES)
      this.#ringPages = mapFile('mapping the rings of io_uring', fd, 0, length)
      this.#entryPages = mapFile('mapping the entries of io_uring', fd, OFF_SQES, sqEntries * SQE_BYTES)
      this.#ring = new Int32Array(memoryAt(this.#ringPages.address, length))
      this.#entries = new Int32Array(memoryAt(this.#entryPages.address, sqEntries * SQE_BYTES))
      this.#sqEntries = sqEntries
      this.#cqMask = cqEntries - 1
      // Entries are submitted in the order in which they lie.
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
   * Makes an entry, to be submitted with the next `enter`.
   * @param tag comes back with the results
   * @param flags what the operation knows as its flags
   * @param options of the entry itself
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

  /** Whether there are entries for more than the next `enter`. */
  get behind(): boolean {
    return this.#unsubmitted > BATCH
  }

  /**
   * Submits the entries made, or the first of many; where that is all, sleeps until there is a result or the time is over.
   * @param timeout milliseconds; 0 not to sleep, Infinity for as long as it takes
   * @returns false where a signal to this process came between
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

  /** Gives each result that is there to its target. @returns whether there was one */
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

  /** The submission queue is full: its entries go before their time. */
  #makeRoom(): void {
    this.#call(0, 0, null, 8)
    if (this.#unsubmitted === this.#sqEntries) throw new Error('io_uring takes no more entries')
  }

  #call(wait: number, flags: number, argument: BigUint64Array | null, size: number): boolean {
    Atomics.store(this.#ring, this.#sqTail, this.#tail)
    const fd = this.#descriptor.fd
    const result = this.#enter(IO_URING_ENTER, fd, Math.min(this.#unsubmitted, BATCH), wait, flags, argument, size)
    const reason = result < 0 ? errno() : 0
    // Whatever it says it did, the head tells what it took.
    this.#unsubmitted = (this.#tail - Atomics.load(this.#ring, this.#sqHead)) | 0
    if (reason === 0 || reason === Errno.ETIME || reason === Errno.EAGAIN || reason === Errno.EBUSY) return true
    if (reason === Errno.EINTR) return false
    throw new SystemCallError('io_uring_enter', reason, 'waiting')
  }
}

function setUp(params: Uint32Array): number {
  const setup = cFunction('int64_t syscall(int64_t number, uint32_t entries, void *params)')
  let reason = 0
  for (const way of WAYS) {
    params.fill(0)
    params[PARAM_FLAGS] = way | SETUP_CQSIZE
    params[PARAM_CQ_ENTRIES] = CQ_ENTRIES
    const fd = setup(IO_URING_SETUP, SQ_ENTRIES, params)
    if (fd >= 0) return fd
    reason = errno()
    if (reason !== Errno.EINVAL) break
  }
  throw new SystemCallError('io_uring_setup', reason, 'making an io_uring')
}
