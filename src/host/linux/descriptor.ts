import { type CFunction, cFunction } from './ffi.ts'

let closeCall: CFunction | undefined

/**
 * File descriptor with ownership.
 *
 *     const descriptor = new Descriptor(fd, 'the front-end')
 *     read(descriptor.fd, ...)
 *     descriptor.close()                     // once; again does nothing
 *
 * A function that takes one owns it, unless it is documented to borrow it.
 */
export class Descriptor {
  #fd: number

  /** @param what it is, for messages: `guest memory`, `the front-end` */
  constructor(
    fd: number,
    readonly what: string,
  ) {
    this.#fd = fd
  }

  /** Number for an immediate system call. @throws {Error} if it is closed, because the number may be reused */
  get fd(): number {
    if (this.#fd < 0) throw new Error(`${this.what} is closed`)
    return this.#fd
  }

  get closed(): boolean {
    return this.#fd < 0
  }

  close(): void {
    const fd = this.#fd
    this.#fd = -1
    if (fd < 0) return
    // The number is free whatever close(2) returns: a second close could close another descriptor.
    closeCall ??= cFunction('int close(int fd)')
    closeCall(fd)
  }

  /** Releases the number to the caller, who must close it. */
  release(): number {
    const fd = this.fd
    this.#fd = -1
    return fd
  }
}
