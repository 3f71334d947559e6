import { type CFunction, cFunction, errno } from '../ffi.ts'
import { type Operation, OperationKind } from './operation.ts'

/** Maximum time of file calls in a turn, so that the first completion is not delayed by the last. */
const TURN_MS = 0.2

/** Blocking reads and writes: a few in each turn, in the order in which they were added. */
export class FileCalls {
  readonly #preadv: CFunction = cFunction('int64_t preadv(int fd, intptr_t vectors, int count, int64_t offset)')
  readonly #pwritev: CFunction = cFunction('int64_t pwritev(int fd, intptr_t vectors, int count, int64_t offset)')
  /** Number of calls that waited for the disk. */
  slow = 0
  readonly #slowMs: number
  /** Operations of the current pass; those before `#next` are done. */
  #queue: Operation[] = []
  #next = 0
  /** Operations of the next pass. Two lists, so that neither grows without limit under constant load. */
  #added: Operation[] = []

  /** @param slowMs a call that takes at least this many milliseconds counts as slow */
  constructor(slowMs = 2) {
    this.#slowMs = slowMs
  }

  get waiting(): boolean {
    return this.#next < this.#queue.length || this.#added.length > 0
  }

  add(operation: Operation): void {
    this.#added.push(operation)
  }

  /** Performs waiting operations for up to `TURN_MS`. @returns true if there were any */
  turn(): boolean {
    if (!this.waiting) return false
    const start = performance.now()
    let before = start
    do {
      const operation = this.#first()
      if (operation.advance(this.#call(operation))) this.#added.push(operation)
      const now = performance.now()
      if (now - before >= this.#slowMs) this.slow++
      before = now
    } while (this.waiting && before - start < TURN_MS)
    return true
  }

  /** Removes and returns the waiting operations. */
  take(): readonly Operation[] {
    const waiting = [...this.#queue.slice(this.#next), ...this.#added]
    this.#queue = []
    this.#added = []
    this.#next = 0
    return waiting
  }

  /** Removes and returns the operation that was added first. */
  #first(): Operation {
    if (this.#next === this.#queue.length) {
      const done = this.#queue
      done.length = 0
      this.#queue = this.#added
      this.#added = done
      this.#next = 0
    }
    return this.#queue[this.#next++]
  }

  /** @returns result of the system call, or -errno */
  #call({ kind, fd, offset, vectorsAddress, vectorCount }: Operation): number {
    const call = kind === OperationKind.READ ? this.#preadv : this.#pwritev
    const result = call(fd, vectorsAddress, vectorCount, offset)
    return result < 0 ? -errno() : result
  }
}
