import { closeSync, constants, fstatSync, openSync, type Stats, statSync } from 'node:fs'
import { blockDeviceSize } from '../../host/linux/block-ioctl.ts'
import { ffiMissing } from '../../host/linux/ffi.ts'
import { livingProcess, lockHolders } from '../../host/linux/lock-holders.ts'
import { FlockOperation, flock } from '../../host/linux/posix.ts'
import { errorCode } from '../../host/node/error-code.ts'
import { retry } from '../../host/node/retry.ts'
import { printableText } from '../../log/printable-text.ts'
import { SECTOR_BYTES } from '../../services/disk.ts'
import { DiskError } from './disk-error.ts'

/** How long a lock may outlive its process. */
const LOCK_TIMEOUT_MS = 10_000
/** The same for exclusive use of a block device, of which the kernel does not say who has it. */
const BUSY_TIMEOUT_MS = 1000

/** A raw image that is open and, where that can be, locked. */
export interface Image {
  readonly fd: number
  /** Bytes of whole sectors. */
  readonly byteLength: number
  readonly blockDevice: boolean
  readonly locked: boolean
}

/**
 * Opens a raw image file or block device for exclusive use, or shared where it is only read.
 * @param log called with warnings
 * @throws {DiskError}
 */
export function openImage(path: string, readOnly: boolean, log: (line: string) => void): Image {
  const blockDevice = kindOf(path).isBlockDevice()
  const fd = openDescriptor(path, readOnly, blockDevice)
  try {
    const locked = lock(path, fd, readOnly, log)
    const size = blockDevice ? sizeOfDevice(path, fd) : fstatSync(fd).size
    const rest = size % SECTOR_BYTES
    if (size < SECTOR_BYTES) {
      throw new DiskError(
        `${path} is smaller than one sector: give it a size first, for example: truncate -s 1G ${path}`,
      )
    }
    if (rest > 0) log(`${path}: its last ${rest} bytes are no whole sector of 512 and not part of the disk`)
    return { fd, byteLength: size - rest, blockDevice, locked }
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

function kindOf(path: string): Stats {
  let stats: Stats
  try {
    stats = statSync(path)
  } catch (error) {
    const code = errorCode(error)
    if (code === 'ENOENT') {
      throw new DiskError(`there is no disk image ${path}: make one, for example with: truncate -s 1G ${path}`)
    }
    throw new DiskError(`cannot open the disk image ${path}: ${code}`)
  }
  if (stats.isDirectory()) throw new DiskError(`${path} is a directory: name a raw disk image or a block device`)
  if (!stats.isFile() && !stats.isBlockDevice()) {
    throw new DiskError(`${path} is neither a file nor a block device: name a raw disk image or a block device`)
  }
  return stats
}

function openDescriptor(path: string, readOnly: boolean, blockDevice: boolean): number {
  // A block device that is mounted, or part of something that is, refuses to be opened exclusively.
  const flags = readOnly ? constants.O_RDONLY : constants.O_RDWR | (blockDevice ? constants.O_EXCL : 0)
  try {
    return retry(
      () => openSync(path, flags),
      (error) => errorCode(error) === 'EBUSY',
      BUSY_TIMEOUT_MS,
    )
  } catch (error) {
    const code = errorCode(error)
    if (code === 'EBUSY') throw new DiskError(`${path} is in use on this machine: unmount it, or open it read-only`)
    if (!readOnly && (code === 'EACCES' || code === 'EPERM' || code === 'EROFS')) {
      throw new DiskError(`cannot write ${path} (${code}): change its permissions, or open it read-only`)
    }
    throw new DiskError(`cannot open the disk image ${path}: ${code}`)
  }
}

/** A lock that others who lock the same way respect; it ends with the descriptor. @returns whether there is one now */
function lock(path: string, fd: number, readOnly: boolean, log: (line: string) => void): boolean {
  const missing = ffiMissing()
  if (missing !== undefined) {
    log(`${path}: not locked against other programs, and discards do nothing: ${missing}`)
    return false
  }
  const operation = (readOnly ? FlockOperation.SH : FlockOperation.EX) | FlockOperation.NB
  let holder: string | undefined
  let waiting = false
  const isOfDeadProcess = (error: unknown): boolean => {
    if (errorCode(error) !== 'EAGAIN') return false
    holder = lockHolders(fd)
      .map(describeProcess)
      .find((name) => name !== undefined)
    if (holder !== undefined) return false
    if (!waiting) log(`${path}: waiting for the kernel to release the lock of a process that ended`)
    waiting = true
    return true
  }
  try {
    retry(() => flock(`locking ${path}`, fd, operation), isOfDeadProcess, LOCK_TIMEOUT_MS)
    return true
  } catch (error) {
    const code = errorCode(error)
    if (code === 'EAGAIN') {
      const how = readOnly ? 'written' : 'used'
      throw new DiskError(
        `${path} is being ${how} by ${holder ?? 'another program'}: stop that one first, or use a copy`,
      )
    }
    log(`${path}: not locked against other programs: ${code}`)
    return false
  }
}

/** Name and id of a living process as a message has them. */
function describeProcess(id: number): string | undefined {
  const name = livingProcess(id)
  return name === undefined ? undefined : `another program (${printableText(name)}, process ${id})`
}

function sizeOfDevice(path: string, fd: number): number {
  const missing = ffiMissing()
  if (missing !== undefined) throw new DiskError(`the size of the block device ${path} cannot be read: ${missing}`)
  try {
    return blockDeviceSize(`reading the size of ${path}`, fd)
  } catch (error) {
    throw new DiskError(`the size of the block device ${path} cannot be read: ${errorCode(error)}`)
  }
}
