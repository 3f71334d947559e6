import { type CFunction, cFunction, errno } from '../ffi.ts'
import { type Operation, OperationKind } from './operation.ts'

/** What a turn spends on them: whoever waits for the first is told before the last is done. */
const TURN_MS = 0.2

/** Reading and writing by system calls that return when it is done, some in each turn, in the order in which they came. */
export class FileCalls {
  readonly #preadv: CFunction = cFunction('int64_t preadv(int fd, intptr_t vectors, int count, int64_t offset)')
  readonly #pwritev: CFunction = cFunction('int64_t pwritev(int fd, intptr_t vectors, int count, int64_t offset)')
  /** Calls that had to wait for the disk. */
  slow = 0
  readonly #slowMs: number
  #queue: Operation[] = []
  /** Those before it are done. */
  #next = 0

  /** @param slowMs a call that takes as long has waited for the disk */
  constructor(slowMs = 2) {
    this.#slowMs = slowMs
  }

  get waiting(): boolean {
    return this.#next < this.#queue.length
  }

  add(operation: Operation): void {
    this.#queue.push(operation)
  }

  /** Does some of what waits. @returns whether anything did */
  turn(): boolean {
    if (!this.waiting) return false
    const start = performance.now()
    let before = start
    do {
      const operation = this.#queue[this.#next++]
      if (operation.took(this.#call(operation))) this.#queue.push(operation)
      const now = performance.now()
      if (now - before >= this.#slowMs) this.slow++
      before = now
    } while (this.waiting && before - start < TURN_MS)
    if (!this.waiting) {
      this.#queue.length = 0
      this.#next = 0
    }
    return true
  }

  /** Takes back what waits. */
  take(): readonly Operation[] {
    const waiting = this.#queue.slice(this.#next)
    this.#queue = []
    this.#next = 0
    return waiting
  }

  /** @returns what the system call does, or -errno */
  #call({ kind, fd, offset, vectorsAddress, vectorCount }: Operation): number {
    const call = kind === OperationKind.READ ? this.#preadv : this.#pwritev
    const result = call(fd, vectorsAddress, vectorCount, offset)
    return result < 0 ? -errno() : result
  }
}
