import { openSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { Descriptor } from '../descriptor.ts'
import { Errno } from '../errno.ts'
import { ioctl } from '../posix.ts'
import { SystemCallError } from '../system-call-error.ts'
import { DmaBuf } from './dma-buf.ts'
import { checkFiles, MemoryOwner } from './memory-seals.ts'
import { createArgument, createListArgument, type FileExtent, Request } from './protocol.ts'
import { UdmabufError, UdmabufProblem } from './udmabuf-error.ts'

const DEVICE = '/dev/udmabuf'
const PARAMETERS = '/sys/module/udmabuf/parameters'

/** Limits of one buffer; infinite if the driver does not state them. */
export interface UdmabufLimits {
  /** Limit of pieces. A single piece is always accepted. */
  readonly pieces: number
  readonly bytes: number
}

/**
 * The udmabuf driver: creates dma-bufs from pages of memory files, so that devices of the host use a guest's buffers
 * without a copy.
 *
 *     const udmabuf = Udmabuf.open()
 *     list.locate(0, list.byteLength, spans)
 *     const buffer = udmabuf.create(fileExtents(spans), 'scanout 0')
 *     ...
 *     buffer.close()
 *     udmabuf.close()
 *
 * Buffers stay open when the driver is closed.
 */
export class Udmabuf {
  readonly #device: Descriptor

  private constructor(
    device: Descriptor,
    private readonly parameters: string,
  ) {
    this.#device = device
  }

  /**
   * @param device path of the driver's device file
   * @param parameters folder of the driver's limits
   * @throws {UdmabufError} if the driver is missing, or this user may not open it
   */
  static open(device = DEVICE, parameters = PARAMETERS): Udmabuf {
    try {
      return new Udmabuf(new Descriptor(openSync(device, 'r'), device), parameters)
    } catch (cause) {
      throw unavailable(device, cause)
    }
  }

  /** Current limits: the administrator can change them at any time. */
  get limits(): UdmabufLimits {
    return { pieces: this.#parameter('list_limit'), bytes: this.#parameter('size_limit_mb') * 2 ** 20 }
  }

  /**
   * Creates a buffer. The files are borrowed; the buffer holds their pages itself.
   * @param extents whole pages, as `fileExtents` returns them
   * @param what name of the buffer, for messages
   * @param owner owner of the memory: files that are OURS are sealed here if necessary
   * @throws {UdmabufError}; nothing stays open
   */
  create(extents: readonly FileExtent[], what: string, owner: MemoryOwner = MemoryOwner.PEER): DmaBuf {
    this.#checkLimits(extents, what)
    checkFiles(extents, what, owner)
    return DmaBuf.fromDescriptor(new Descriptor(this.#make(extents, what), what))
  }

  close(): void {
    this.#device.close()
  }

  #parameter(name: string): number {
    try {
      return Number(readFileSync(path.join(this.parameters, name), 'latin1'))
    } catch {
      return Number.POSITIVE_INFINITY
    }
  }

  #make(extents: readonly FileExtent[], what: string): number {
    const purpose = `making a dma-buf of ${what}`
    const fd = this.#device.fd
    try {
      return extents.length === 1
        ? ioctl(purpose, fd, Request.UDMABUF_CREATE, createArgument(extents[0]))
        : ioctl(purpose, fd, Request.UDMABUF_CREATE_LIST, createListArgument(extents))
    } catch (error) {
      throw error instanceof SystemCallError ? refusal(error, this.#device.what) : error
    }
  }

  #checkLimits(extents: readonly FileExtent[], what: string): void {
    const { pieces, bytes } = this.limits
    const length = extents.reduce((sum, extent) => sum + extent.length, 0)
    if (length > bytes) {
      const tooLarge = `${what} has ${length} bytes, and the driver takes ${bytes}`
      const remedy = `write ${Math.ceil(length / 2 ** 20)} to ${this.parameters}/size_limit_mb`
      throw new UdmabufError(UdmabufProblem.TOO_LARGE, tooLarge, remedy)
    }
    if (extents.length > 1 && extents.length > pieces) {
      const scattered = `${what} is in ${extents.length} pieces, and the driver takes ${pieces}`
      const remedy = `write ${extents.length} to ${this.parameters}/list_limit, or have the guest use larger pieces`
      throw new UdmabufError(UdmabufProblem.TOO_MANY_PIECES, scattered, remedy)
    }
  }
}

function unavailable(device: string, cause: unknown): unknown {
  if (!(cause instanceof Error && 'code' in cause)) return cause
  switch (cause.code) {
    case 'ENOENT':
    case 'ENODEV':
    case 'ENXIO': {
      const remedy = 'modprobe udmabuf, or boot a kernel with CONFIG_UDMABUF'
      return new UdmabufError(UdmabufProblem.NO_DEVICE, `there is no ${device}`, remedy, { cause })
    }
    case 'EACCES':
    case 'EPERM': {
      const remedy = 'give this user read permission, usually by its group'
      return new UdmabufError(UdmabufProblem.NO_PERMISSION, `no permission to open ${device}`, remedy, { cause })
    }
    case 'EMFILE':
    case 'ENFILE':
      return noDescriptor(`${device} cannot be opened`, cause)
    default:
      return new UdmabufError(UdmabufProblem.REFUSED, `${device} cannot be opened`, cause.message, { cause })
  }
}

function refusal(cause: SystemCallError, device: string): UdmabufError {
  const { message: what } = cause
  if (cause.errno === Errno.EBADFD) {
    return new UdmabufError(UdmabufProblem.NOT_MEMORY_FILE, what, 'share a memfd', { cause })
  }
  switch (cause.code) {
    case 'EMFILE':
    case 'ENFILE':
      return noDescriptor(what, cause)
    case 'ENOMEM':
      return new UdmabufError(UdmabufProblem.NO_MEMORY, what, 'free memory, or use smaller buffers', { cause })
    case 'ENOTTY':
      return new UdmabufError(UdmabufProblem.NO_DEVICE, what, `${device} is not a udmabuf driver`, { cause })
    default:
      return new UdmabufError(UdmabufProblem.REFUSED, what, 'see the log of the kernel', { cause })
  }
}

function noDescriptor(what: string, cause: unknown): UdmabufError {
  return new UdmabufError(UdmabufProblem.NO_DESCRIPTOR, what, 'close descriptors, or raise the limit: ulimit -n', {
    cause,
  })
}
