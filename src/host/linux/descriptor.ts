import { type CFunction, cFunction } from './ffi.ts'

let closeCall: CFunction | undefined

/**
 * A file descriptor and whoever has to close it.
 *
 *     const descriptor = new Descriptor(fd, 'the front-end')
 *     read(descriptor.fd, ...)
 *     descriptor.close()                     // once; again does nothing
 *
 * Whoever is given one owns it, unless the function says that it borrows.
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

  /** Its number, for a system call that is made now. @throws {Error} where it is closed: the number is somebody else's */
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
    // Whatever it returns, the number is free: closing again would close somebody else's. close(2)
    closeCall ??= cFunction('int close(int fd)')
    closeCall(fd)
  }

  /** Gives the number to somebody else, who closes it. */
  release(): number {
    const fd = this.fd
    this.#fd = -1
    return fd
  }
}
