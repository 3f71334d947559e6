import { addressOf } from './ffi.ts'

const SOL_SOCKET = 1
const SCM_RIGHTS = 1
const MSG_CTRUNC = 8
/** Maximum number of descriptors that the kernel passes with one message. @see unix(7) */
const MAX_DESCRIPTORS = 253

// struct msghdr, 56 bytes, on 64-bit systems                                                   recvmsg(2)
//
//   0        8          12   16        24         32        40            48      52
//   | name   | name len |    | vectors | count    | control | control len | flags |    |
//
const MSG_VECTORS = 2
const MSG_COUNT = 3
const MSG_CONTROL = 4
const MSG_CONTROL_LENGTH = 5 // u64 indices
const MSG_FLAGS = 12 // u32 index

// struct cmsghdr, 16 bytes, then the descriptors                                               cmsg(3)
//
//   0          8       12     16
//   | length   | level | type | i32 ...
//
const CONTROL_HEADER = 16
const CONTROL_LENGTH = 0
const CONTROL_LEVEL = 2
const CONTROL_TYPE = 3
const CONTROL_DATA = 4 // u32 indices

/** Argument of sendmsg(2) and recvmsg(2): one piece of memory, and descriptors. Reused for all calls. */
export class MessageHeader {
  /** struct msghdr, the argument of the system call. */
  readonly words = new Uint32Array(14)
  readonly #longs = new BigUint64Array(this.words.buffer)
  /** struct iovec: address and length of the piece of memory. */
  readonly #vector = new BigUint64Array(2)
  readonly #control = new Uint32Array((CONTROL_HEADER + MAX_DESCRIPTORS * 4 + 4) >>> 2)

  constructor() {
    this.#longs[MSG_VECTORS] = BigInt(addressOf(this.#vector))
    this.#longs[MSG_COUNT] = 1n
    this.#longs[MSG_CONTROL] = BigInt(addressOf(this.#control))
  }

  /** Sets the piece of memory: an array from `offset` to its end. */
  point(bytes: Uint8Array, offset = 0): void {
    this.#vector[0] = BigInt(addressOf(bytes) + offset)
    this.#vector[1] = BigInt(bytes.length - offset)
  }

  /** Sets the descriptors to send. */
  attach(fds: readonly number[]): void {
    if (fds.length > MAX_DESCRIPTORS)
      throw new RangeError(`a message has at most ${MAX_DESCRIPTORS} descriptors, not ${fds.length}`)
    const length = fds.length === 0 ? 0 : CONTROL_HEADER + fds.length * 4
    this.#control[CONTROL_LENGTH] = length
    this.#control[CONTROL_LENGTH + 1] = 0
    this.#control[CONTROL_LEVEL] = SOL_SOCKET
    this.#control[CONTROL_TYPE] = SCM_RIGHTS
    this.#control.set(fds, CONTROL_DATA)
    // Length 0 omits the control message.
    this.#longs[MSG_CONTROL_LENGTH] = BigInt((length + 7) & ~7)
  }

  /** Makes room for received descriptors. */
  expect(): void {
    this.#longs[MSG_CONTROL_LENGTH] = BigInt(this.#control.byteLength)
  }

  /** Returns the received descriptors. Other control messages are ignored. */
  received(): number[] {
    const fds: number[] = []
    const end = Number(this.#longs[MSG_CONTROL_LENGTH]) >>> 2
    for (let at = 0; at + CONTROL_DATA <= end; ) {
      const length = this.#control[at + CONTROL_LENGTH]
      if (length < CONTROL_HEADER) break
      const isRights =
        this.#control[at + CONTROL_LEVEL] === SOL_SOCKET && this.#control[at + CONTROL_TYPE] === SCM_RIGHTS
      if (isRights) fds.push(...this.#control.subarray(at + CONTROL_DATA, at + (length >>> 2)))
      at += ((length + 7) >>> 3) * 2
    }
    return fds
  }

  /** True if received descriptors were lost: this process has no free descriptor numbers. */
  get truncated(): boolean {
    return (this.words[MSG_FLAGS] & MSG_CTRUNC) !== 0
  }
}
