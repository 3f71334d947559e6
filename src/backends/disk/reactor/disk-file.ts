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
  readonly readOnly?: boolean
  /** Past the page cache (O_DIRECT), where requests are aligned as the file asks for. */
  readonly direct?: boolean
  /** Takes a line about what goes wrong, or less well than it might. */
  readonly log?: (line: string) => void
}

/** An open image as other threads get to know it: plain values, to be posted. */
export interface SharedDiskFile {
  readonly path: string
  readonly fd: number
  /** The same file, opened for direct I/O, and what that asks for. */
  readonly direct: { readonly fd: number; readonly alignment: DirectAlignment } | undefined
  readonly readOnly: boolean
  readonly blockDevice: boolean
  readonly canDiscard: boolean
  readonly locked: boolean
  /** What `DiskState` shows. */
  readonly state: SharedArrayBuffer
}

/**
 * A raw image file or block device, open and locked, for the disks of one thread or several.
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

  /** @throws {DiskError} in one line what is wrong with the file, and what to do */
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

  /** Looks at the size of the file again. @returns whether it has changed: each thread's device is to tell its driver */
  refreshSize(): boolean {
    const { path, fd, blockDevice } = this.shared
    const size = blockDevice ? blockDeviceSize(`reading the size of ${path}`, fd) : fstatSync(fd).size
    const byteLength = size - (size % SECTOR_BYTES)
    if (byteLength === this.#state.byteLength) return false
    this.#state.byteLength = byteLength
    return true
  }

  /**
   * Flushes, and gives up the file and its lock.
   * @throws {DiskError} where something written may be lost
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
    if (failure !== undefined) throw new DiskError(`${path}: what the guest wrote may be lost: flush: ${failure}`)
  }
}

/** Opens an open image once more, for direct I/O. The lock stays with the first. */
function openDirect(path: string, image: Image, readOnly: boolean): SharedDiskFile['direct'] {
  const none = `${path}: there is no direct I/O on it: leave that option out`
  let fd: number
  try {
    fd = openSync(`/proc/self/fd/${image.fd}`, (readOnly ? constants.O_RDONLY : constants.O_RDWR) | constants.O_DIRECT)
  } catch (error) {
    throw new DiskError(`${none} (${errorCode(error)})`)
  }
  try {
    const alignment = directAlignment(`looking at ${path}`, fd)
    if (!alignment) throw new DiskError(none)
    return { fd, alignment }
  } catch (error) {
    closeSync(fd)
    throw error
  }
}
