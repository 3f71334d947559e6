import { closeSync, fdatasyncSync } from 'node:fs'
import type { Reactor } from '../../host/linux/reactor/reactor.ts'
import type { RegionBacking } from '../../memory/memory-region.ts'
import type { PersistentFile } from '../../services/persistent-file.ts'
import { DiskError } from '../disk/disk-error.ts'
import { openImage } from '../disk/open-image.ts'

/** Size of the pages with which a guest maps the file, in bytes. */
const GUEST_PAGE = 2 << 20

/**
 * File as persistent memory of a guest. Monitors map it; this process does not, so it need not fit in its address space.
 *
 * After a failed flush all later ones fail, too: the kernel drops data that it could not write.
 */
export class PmemFile implements PersistentFile {
  readonly backing: RegionBacking
  #failed = false
  /** Receives the end of the flush under way. */
  #done: (durable: boolean) => void = () => {}
  readonly #completion = { done: (result: number) => this.#flushed(result) }

  /** Opens and locks a file. @throws {DiskError} if it cannot be opened, or is not whole pages of 2 MiB */
  static open(path: string, reactor: Reactor, log: (line: string) => void): PmemFile {
    const image = openImage(path, false, log)
    const { fd, blockDevice, byteLength } = image
    if (blockDevice || byteLength === 0 || byteLength % GUEST_PAGE !== 0) {
      closeSync(fd)
      throw new DiskError(`${path}: persistent memory is a file of whole 2 MiB: truncate -s %2M ${path}`)
    }
    return new PmemFile(path, fd, byteLength, reactor, log)
  }

  private constructor(
    private readonly path: string,
    fd: number,
    readonly size: number,
    private readonly reactor: Reactor,
    private readonly log: (line: string) => void,
  ) {
    this.backing = { fd, offset: 0 }
  }

  flush(done: (durable: boolean) => void): void {
    this.#done = done
    this.reactor.sync(this.backing.fd, this.#completion)
  }

  inspect(): Record<string, unknown> {
    return { path: this.path, size: this.size, failed: this.#failed }
  }

  /** Flushes, then closes the file and releases its lock. @throws {DiskError} if written data may be lost */
  close(): void {
    try {
      fdatasyncSync(this.backing.fd)
    } catch {
      this.#failed = true
    }
    closeSync(this.backing.fd)
    if (this.#failed) throw new DiskError(`${this.path}: data that the guest wrote may be lost: a flush failed`)
  }

  #flushed(result: number): void {
    if (result < 0 && !this.#failed) {
      this.#failed = true
      this.log(`${this.path}: a flush failed with errno ${-result}: all later ones fail, too`)
    }
    this.#done(!this.#failed)
  }
}
