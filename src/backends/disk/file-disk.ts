import { closeSync, fdatasync, fstatSync, writeSync } from 'node:fs'
import { promisify } from 'node:util'
import { errorCode } from '../../host/node/error-code.ts'
import { limitedLog } from '../../log/limited-log.ts'
import { type Disk, DiskOp, type DiskRequest } from '../../services/disk.ts'
import type { SavedState } from '../../snapshot/saved-state.ts'
import { integer, stateShape } from '../../snapshot/shape.ts'
import { SnapshotError } from '../../snapshot/snapshot-error.ts'
import { DiskError } from './disk-error.ts'
import { moveSpans } from './move-spans.ts'
import { type Image, openImage } from './open-image.ts'
import { RangeEraser } from './range-eraser.ts'

/** Zeroes to write if the kernel supports no faster method. */
const ZEROES = new Uint8Array(1 << 16)

const IDENTITY = stateShape('a disk', 1, {
  bytes: integer(0, Number.MAX_SAFE_INTEGER),
  inode: integer(0, Number.MAX_SAFE_INTEGER),
  /** Time of the last change, in milliseconds. */
  modified: integer(0, Number.MAX_SAFE_INTEGER),
})

export interface FileDiskOptions {
  /** @default false */
  readonly readOnly?: boolean
  /** Receives a line about each error or missing capability. @default no log */
  readonly log?: (line: string) => void
}

/**
 * Disk in a raw image file or on a block device.
 *
 *     const disk = FileDisk.open('data.img', { log: console.error })
 *     const device = new BlockDevice(disk)
 *     ...
 *     await disk.close()                        // flushes
 *
 * Data moves between guest memory and the page cache within `submit`, without another copy; a flush completes later.
 * The image is locked, so that two disks never write to it. Without native calls there are no locks and no discards.
 */
export class FileDisk implements Disk {
  readonly byteLength: number
  readonly readOnly: boolean
  readonly canDiscard: boolean
  readonly #path: string
  readonly #image: Image
  readonly #eraser: RangeEraser
  readonly #log: (line: string) => void
  /** Unlimited log, for a line that is written once. */
  readonly #logOnce: (line: string) => void
  /** Number of flushes in flight, and the callback of `close`, called when there are none. */
  #flushes = 0
  #flushed: (() => void) | undefined
  /** Error of the first flush that failed. The page cache may have dropped data, so no later flush may succeed. */
  #flushFailure: string | undefined
  /** Bytes of zeroes written because the kernel supports no faster method. */
  #zeroesWritten = 0
  #closing: Promise<void> | undefined

  /** Opens and locks an image. @throws {DiskError} */
  static open(path: string, options: FileDiskOptions = {}): FileDisk {
    const { readOnly = false, log = () => {} } = options
    return new FileDisk(path, openImage(path, readOnly, log), readOnly, log)
  }

  private constructor(path: string, image: Image, readOnly: boolean, log: (line: string) => void) {
    this.#path = path
    this.#image = image
    this.#log = limitedLog(log)
    this.#logOnce = log
    this.byteLength = image.byteLength
    this.readOnly = readOnly
    this.#eraser = new RangeEraser(path, image.fd, image.blockDevice, this.#log)
    this.canDiscard = !readOnly && this.#eraser.canDiscard(image.byteLength)
  }

  /** Returns the identity of the file as a saved state. Its content belongs to the state of a guest, and must not change. */
  identity(): SavedState {
    const { size, ino, mtimeMs } = fstatSync(this.#image.fd)
    return IDENTITY.write({ bytes: size, inode: ino, modified: Math.round(mtimeMs) })
  }

  /**
   * Checks that this is the file of a saved guest.
   * @param accepts true to log a change instead
   * @throws {SnapshotError} if it is another file, or if it was changed since
   */
  expect(state: SavedState, accepts: boolean): void {
    const saved = IDENTITY.read(state)
    const now = IDENTITY.read(this.identity())
    const change =
      saved.bytes !== now.bytes
        ? `it has ${now.bytes} bytes, not ${saved.bytes}`
        : saved.inode !== now.inode
          ? 'it is another file'
          : saved.modified !== now.modified
            ? 'it was changed since'
            : undefined
    if (change === undefined) return
    const line = `${this.#path} is not the disk of the snapshot: ${change}`
    if (!accepts) throw new SnapshotError(line)
    this.#logOnce(`${line}; the guest may damage its file systems`)
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
   * Flushes, then closes the file and releases its lock.
   * @throws {DiskError} if written data may be lost
   */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  inspect() {
    return {
      path: this.#path,
      locked: this.#image.locked,
      erasesBy: this.#eraser.methods,
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
        // A discard that is not supported does nothing, because discards are hints. @virtio 5.2.6.2
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
    this.#logOnce(`${what}: data that the guest wrote may be lost, and all later flushes fail`)
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
      throw new DiskError(`${this.#path}: data that the guest wrote may be lost: ${this.#flushFailure}`)
    }
  }
}
