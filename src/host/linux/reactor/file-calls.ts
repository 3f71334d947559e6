import { type CFunction, cFunction, errno } from '../ffi.ts'
import { type Operation, OperationKind } from './operation.ts'

/** Maximum time of file calls in a turn, so that the first completion is not delayed by the last. */
const TURN_MS = 0.2

/** Reading and writing by system calls that return when it is done, some in each turn, in the order in which they came. */
export class FileCalls {
  readonly #preadv: CFunction = cFunction('int64_t preadv(int fd, intptr_t vectors, int count, int64_t offset)')
  readonly #pwritev: CFunction = cFunction('int64_t pwritev(int fd, intptr_t vectors, int count, int64_t offset)')
  /** Calls that had to wait for the disk. */
  slow = 0
  readonly #slowMs: number
  /** What is at hand; those before `#next` are done. */
  #queue: Operation[] = []
  #next = 0
  /** What came since: its turn comes when the queue is done, so that neither list grows while there is always something. */
  #added: Operation[] = []

  /** @param slowMs a call that takes as long has waited for the disk */
  constructor(slowMs = 2) {
    this.#slowMs = slowMs
  }

  get waiting(): boolean {
    return this.#next < this.#queue.length || this.#added.length > 0
  }

  add(operation: Operation): void {
    this.#added.push(operation)
  }

  /** Does some of what waits. @returns whether anything did */
  turn(): boolean {
    if (!this.waiting) return false
    const start = performance.now()
    let before = start
    do {
      const operation = this.#first()
      if (operation.took(this.#call(operation))) this.#added.push(operation)
      const now = performance.now()
      if (now - before >= this.#slowMs) this.slow++
      before = now
    } while (this.waiting && before - start < TURN_MS)
    return true
  }

  /** Takes back what waits. */
  take(): readonly Operation[] {
    const waiting = [...this.#queue.slice(this.#next), ...this.#added]
    this.#queue = []
    this.#added = []
    this.#next = 0
    return waiting
  }

  /** Takes the one that waited longest. */
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

  /** @returns what the system call does, or -errno */
  #call({ kind, fd, offset, vectorsAddress, vectorCount }: Operation): number {
    const call = kind === OperationKind.READ ? this.#preadv : this.#pwritev
    const result = call(fd, vectorsAddress, vectorCount, offset)
    return result < 0 ? -errno() : result
  }
}
