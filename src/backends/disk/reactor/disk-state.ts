import { errnoName } from '../../../host/linux/system-call-error.ts'

const FLUSH_ERRNO = 0 // i32 index
const BYTE_LENGTH = 1 // i64 index
const STATE_BYTES = 16

/** State of an image that changes, shared by all threads that use it. */
export class DiskState {
  readonly #words: Int32Array
  readonly #longs: BigInt64Array

  constructor(readonly buffer: SharedArrayBuffer) {
    this.#words = new Int32Array(buffer)
    this.#longs = new BigInt64Array(buffer)
  }

  static create(byteLength: number): DiskState {
    const state = new DiskState(new SharedArrayBuffer(STATE_BYTES))
    state.byteLength = byteLength
    return state
  }

  get byteLength(): number {
    return Number(Atomics.load(this.#longs, BYTE_LENGTH))
  }

  set byteLength(value: number) {
    Atomics.store(this.#longs, BYTE_LENGTH, BigInt(value))
  }

  /**
   * Error of the first flush that failed; undefined if none did. The page cache may have dropped data, and reports that
   * only once, so no later flush of any thread may succeed.
   */
  get flushFailure(): string | undefined {
    const errno = Atomics.load(this.#words, FLUSH_ERRNO)
    return errno === 0 ? undefined : errnoName(errno)
  }

  /** Records a flush that failed. @returns true if it is the first one */
  flushFailed(errno: number): boolean {
    return Atomics.compareExchange(this.#words, FLUSH_ERRNO, 0, errno) === 0
  }
}
