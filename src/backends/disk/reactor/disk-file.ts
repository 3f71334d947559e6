import { closeSync, constants, fdatasyncSync, fstatSync, openSync } from 'node:fs'
import { blockDeviceSize } from '../../../host/linux/block-ioctl.ts'
import { errorCode } from '../../../host/node/error-code.ts'
import { limitedLog } from '../../../log/limited-log.ts'
import { SECTOR_BYTES } from '../../../services/disk.ts'
import { DiskError } from '../disk-error.ts'
import { type Image, openImage } from '../open-image.ts'
import { RangeEraser } from '../range-eraser.ts'
import { type DirectAlignment, directAlignment } from './direct-alignment.ts'
import { DiskState } from './disk-state.ts'

export interface DiskFileOptions {
  /** @default false */
  readonly readOnly?: boolean
  /** Bypasses the page cache (O_DIRECT) for requests with the alignment that the file requires. @default false */
  readonly direct?: boolean
  /** Receives a line about each error or missing capability. @default no log */
  readonly log?: (line: string) => void
}

/** Open image as plain values, which can be posted to other threads. */
export interface SharedDiskFile {
  readonly path: string
  readonly fd: number
  /** The same file opened for direct I/O, with its alignment; undefined without direct I/O. */
  readonly direct: { readonly fd: number; readonly alignment: DirectAlignment } | undefined
  readonly readOnly: boolean
  readonly blockDevice: boolean
  readonly canDiscard: boolean
  readonly locked: boolean
  /** Memory of `DiskState`. */
  readonly state: SharedArrayBuffer
}

/**
 * Raw image file or block device, opened and locked for the disks of one or several threads.
 *
 *     const file = DiskFile.open('data.img', { direct: true })
 *     const disk = new ReactorDisk(file.shared, reactor)        // here, or in each worker
 *     ...
 *     file.close()                                              // after the last of its disks
 */
export class DiskFile {
  readonly shared: SharedDiskFile
  readonly #state: DiskState
  #closed = false

  /** Opens and locks an image. @throws {DiskError} */
  static open(path: string, options: DiskFileOptions = {}): DiskFile {
    const { readOnly = false, direct = false, log = () => {} } = options
    const image = openImage(path, readOnly, log)
    try {
      return new DiskFile(path, image, readOnly, direct ? openDirect(path, image, readOnly) : undefined, log)
    } catch (error) {
      closeSync(image.fd)
      throw error
    }
  }

  private constructor(
    path: string,
    image: Image,
    readOnly: boolean,
    direct: SharedDiskFile['direct'],
    log: (line: string) => void,
  ) {
    const { fd, blockDevice, locked, byteLength } = image
    const state = DiskState.create(byteLength)
    const eraser = new RangeEraser(path, fd, blockDevice, limitedLog(log))
    const canDiscard = !readOnly && eraser.canDiscard(byteLength)
    this.#state = state
    this.shared = { path, fd, direct, readOnly, blockDevice, locked, canDiscard, state: state.buffer }
  }

  /** Reads the size of the file again. @returns true if it changed: call `resize` of the device in each thread */
  refreshSize(): boolean {
    const { path, fd, blockDevice } = this.shared
    const size = blockDevice ? blockDeviceSize(`reading the size of ${path}`, fd) : fstatSync(fd).size
    const byteLength = size - (size % SECTOR_BYTES)
    if (byteLength === this.#state.byteLength) return false
    this.#state.byteLength = byteLength
    return true
  }

  /**
   * Flushes, then closes the file and releases its lock.
   * @throws {DiskError} if written data may be lost
   */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    const { path, fd, direct, readOnly } = this.shared
    let failure = this.#state.flushFailure
    try {
      if (!readOnly) fdatasyncSync(fd)
    } catch (error) {
      failure ??= errorCode(error)
    }
    if (direct) closeSync(direct.fd)
    closeSync(fd)
    if (failure !== undefined) throw new DiskError(`${path}: data that the guest wrote may be lost: flush: ${failure}`)
  }
}

/** Opens an image a second time, for direct I/O. The lock belongs to the first descriptor. */
function openDirect(path: string, image: Image, readOnly: boolean): SharedDiskFile['direct'] {
  const unsupported = `${path}: the file does not support direct I/O: omit that option`
  let fd: number
  try {
    fd = openSync(`/proc/self/fd/${image.fd}`, (readOnly ? constants.O_RDONLY : constants.O_RDWR) | constants.O_DIRECT)
  } catch (error) {
    throw new DiskError(`${unsupported} (${errorCode(error)})`)
  }
  try {
    const alignment = directAlignment(`reading the alignment of ${path}`, fd)
    if (!alignment) throw new DiskError(unsupported)
    return { fd, alignment }
  } catch (error) {
    closeSync(fd)
    throw error
  }
}
