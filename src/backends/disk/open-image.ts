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

/** Maximum time that a lock stays after its process ended. */
const LOCK_TIMEOUT_MS = 10_000
/** Maximum time that a block device stays busy after its process ended. The kernel does not name that process. */
const BUSY_TIMEOUT_MS = 1000

/** Open raw image. */
export interface Image {
  readonly fd: number
  /** Size in bytes, without an incomplete last sector. */
  readonly byteLength: number
  readonly blockDevice: boolean
  /** False if the host or the file system does not support locks. */
  readonly locked: boolean
}

/**
 * Opens and locks a raw image file or block device: shared if `readOnly`, otherwise exclusively.
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
        `${path} is smaller than one sector (512 bytes): set its size, for example: truncate -s 1G ${path}`,
      )
    }
    if (rest > 0) log(`${path}: the last ${rest} bytes are not part of the disk: not a whole sector (512 bytes)`)
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
      throw new DiskError(`there is no disk image ${path}: create it, for example: truncate -s 1G ${path}`)
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
  // O_EXCL fails on a block device that is mounted, or of which a part is mounted.
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

/** Takes an advisory lock, which ends when the descriptor is closed. @returns false if locks are not supported */
function lock(path: string, fd: number, readOnly: boolean, log: (line: string) => void): boolean {
  const missing = ffiMissing()
  if (missing !== undefined) {
    log(`${path}: not locked, and discards have no effect: ${missing}`)
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
        `${path} is being ${how} by ${holder ?? 'another program'}: stop that program, or use a copy of the image`,
      )
    }
    log(`${path}: not locked: ${code}`)
    return false
  }
}

/** Describes a running process in a message. @returns undefined if it has ended */
function describeProcess(id: number): string | undefined {
  const name = livingProcess(id)
  return name === undefined ? undefined : `another program (${printableText(name)}, process ${id})`
}

function sizeOfDevice(path: string, fd: number): number {
  const missing = ffiMissing()
  if (missing !== undefined) throw new DiskError(`cannot read the size of the block device ${path}: ${missing}`)
  try {
    return blockDeviceSize(`reading the size of ${path}`, fd)
  } catch (error) {
    throw new DiskError(`cannot read the size of the block device ${path}: ${errorCode(error)}`)
  }
}
