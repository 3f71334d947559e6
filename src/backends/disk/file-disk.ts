import { closeSync, fdatasync, writeSync } from 'node:fs'
import { promisify } from 'node:util'
import { errorCode } from '../../host/node/error-code.ts'
import { limitedLog } from '../../log/limited-log.ts'
import { type Disk, DiskOp, type DiskRequest } from '../../services/disk.ts'
import { DiskError } from './disk-error.ts'
import { moveSpans } from './move-spans.ts'
import { type Image, openImage } from './open-image.ts'
import { RangeEraser } from './range-eraser.ts'

/** Zeroes to write where nothing better works. */
const ZEROES = new Uint8Array(1 << 16)

export interface FileDiskOptions {
  readonly readOnly?: boolean
  /** Takes a line about what goes wrong, or less well than it might. */
  readonly log?: (line: string) => void
}

/**
 * A disk in a raw image file or on a block device.
 *
 *     const disk = FileDisk.open('data.img', { log: console.error })
 *     const device = new BlockDevice(disk)
 *     ...
 *     await disk.close()                        // flushed
 *
 * Data moves between guest memory and the page cache within `submit`, with no copy of ours; a flush completes later. Two
 * disks never write to one image: it is locked. Without that, and the system calls for holes, everything else works.
 */
export class FileDisk implements Disk {
  readonly byteLength: number
  readonly readOnly: boolean
  readonly canDiscard: boolean
  readonly #path: string
  readonly #image: Image
  readonly #eraser: RangeEraser
  readonly #log: (line: string) => void
  /** For what is said once. */
  readonly #logLast: (line: string) => void
  /** Flushes in flight, and who waits for there to be none. */
  #flushes = 0
  #flushed: (() => void) | undefined
  /** Why a flush failed. What the page cache lost is lost: no later flush may succeed. */
  #flushFailure: string | undefined
  /** Bytes of zeroes written because nothing better worked. */
  #zeroesWritten = 0
  #closing: Promise<void> | undefined

  /** @throws {DiskError} in one line what is wrong with the file, and what to do */
  static open(path: string, options: FileDiskOptions = {}): FileDisk {
    const { readOnly = false, log = () => {} } = options
    return new FileDisk(path, openImage(path, readOnly, log), readOnly, log)
  }

  private constructor(path: string, image: Image, readOnly: boolean, log: (line: string) => void) {
    this.#path = path
    this.#image = image
    this.#log = limitedLog(log)
    this.#logLast = log
    this.byteLength = image.byteLength
    this.readOnly = readOnly
    this.#eraser = new RangeEraser(path, image.fd, image.blockDevice, this.#log)
    this.canDiscard = !readOnly && this.#eraser.canDiscard(image.byteLength)
  }

  submit(request: DiskRequest): void {
    if (request.op === DiskOp.FLUSH) {
      this.#flush(request)
      return
    }
    let failure: string | undefined
    try {
      this.#perform(request)
    } catch (error) {
      failure = `${request.op} of ${request.length} bytes at ${request.offset}: ${errorCode(error)}`
      this.#log(`${this.#path}: ${failure}`)
    }
    request.complete(failure)
  }

  /**
   * Flushes, and gives up the file and its lock.
   * @throws {DiskError} where something written may be lost
   */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  inspect() {
    return {
      path: this.#path,
      locked: this.#image.locked,
      erasesBy: this.#eraser.ways,
      zeroesWritten: this.#zeroesWritten,
      flushFailure: this.#flushFailure,
    }
  }

  #perform(request: DiskRequest): void {
    if (this.#closing) throw new DiskError('the disk is closed')
    const { op, offset, length } = request
    switch (op) {
      case DiskOp.READ:
      case DiskOp.WRITE:
        moveSpans(this.#image.fd, request)
        break
      case DiskOp.DISCARD:
        // Where it cannot be done nothing is: a discard is no more than a hint. @virtio 5.2.6.2
        this.#eraser.discard(offset, length)
        break
      case DiskOp.WRITE_ZEROES:
        if (request.mayUnmap && this.#eraser.punch(offset, length)) break
        if (!this.#eraser.zero(offset, length)) this.#writeZeroes(offset, length)
    }
  }

  #writeZeroes(offset: number, length: number): void {
    for (let done = 0; done < length; ) {
      done += writeSync(this.#image.fd, ZEROES, 0, Math.min(length - done, ZEROES.length), offset + done)
    }
    this.#zeroesWritten += length
  }

  #flush(request: DiskRequest): void {
    if (this.readOnly || this.#flushFailure !== undefined || this.#closing) {
      request.complete(this.#closing ? 'the disk is closed' : this.#flushFailure)
      return
    }
    this.#flushes++
    fdatasync(this.#image.fd, (error) => {
      if (error) this.#flushFailed(error)
      request.complete(this.#flushFailure)
      if (--this.#flushes === 0) this.#flushed?.()
    })
  }

  #flushFailed(error: Error): void {
    if (this.#flushFailure !== undefined) return
    this.#flushFailure = `flush: ${errorCode(error)}`
    const what = `${this.#path}: ${this.#flushFailure}`
    this.#logLast(`${what}; what the guest wrote may be lost, and no flush succeeds any more`)
  }

  async #close(): Promise<void> {
    const fd = this.#image.fd
    if (this.#flushes > 0) {
      await new Promise<void>((resolve) => {
        this.#flushed = resolve
      })
    }
    try {
      if (!this.readOnly) await promisify(fdatasync)(fd)
    } catch (error) {
      this.#flushFailure ??= `flush: ${errorCode(error)}`
    }
    try {
      closeSync(fd)
    } catch (error) {
      this.#flushFailure ??= `close: ${errorCode(error)}`
    }
    if (this.#flushFailure !== undefined) {
      throw new DiskError(`${this.#path}: what the guest wrote may be lost: ${this.#flushFailure}`)
    }
  }
}
