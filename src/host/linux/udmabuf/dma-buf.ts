import { readFileSync, statfsSync } from 'node:fs'
import { mapFile } from '../address-space.ts'
import { Descriptor } from '../descriptor.ts'
import { systemCall } from '../system-call.ts'
import { MAX_VIEW_BYTES, PageView } from './page-view.ts'
import { DMA_BUF_NAME_LEN, DMA_BUF_SYNC_END, DmaBufAccess, ioctl, Request } from './protocol.ts'

/** The file system of dma-bufs; linux/magic.h. */
const DMA_BUF_MAGIC = 0x444d_4142
const SEEK_SET = 0
const SEEK_END = 2
const POLLIN = 1
const POLLOUT = 4

const lseek = systemCall<[fd: number, offset: number, whence: number]>(
  'int64_t lseek(int fd, int64_t offset, int whence)',
)
const poll = systemCall<[descriptors: Int16Array, count: number, timeout: number]>(
  'int poll(void *descriptors, uint64_t count, int timeout)',
)

/**
 * A buffer that drivers of this machine share: a GPU, a compositor or an encoder imports its descriptor.
 *
 *     const buffer = udmabuf.create(extents, 'scanout 0')
 *     stream.send(message, [buffer.descriptor])
 *     buffer.beginAccess(DmaBufAccess.READ)
 *     hash(buffer.bytes)
 *     buffer.endAccess(DmaBufAccess.READ)
 *     buffer.close()
 *
 * It holds its pages by itself: neither the files they came from nor this object are needed by who imported it.
 */
export class DmaBuf {
  /** Bytes, whole pages. */
  readonly size: number
  #view: PageView | undefined

  private constructor(
    readonly descriptor: Descriptor,
    size: number,
  ) {
    this.size = size
  }

  /** It owns the descriptor from the call on, even if that fails. @throws {SystemCallError} where it has no size */
  static fromDescriptor(descriptor: Descriptor): DmaBuf {
    try {
      const size = lseek(`asking for the size of ${descriptor.what}`, descriptor.fd, 0, SEEK_END)
      lseek(`rewinding ${descriptor.what}`, descriptor.fd, 0, SEEK_SET)
      return new DmaBuf(descriptor, size)
    } catch (error) {
      descriptor.close()
      throw error
    }
  }

  /**
   * All of it, mapped at first use. To be touched between `beginAccess` and `endAccess`; zeroes after `close`.
   * @throws {RangeError} where it is more than 1 GiB
   */
  get bytes(): Uint8Array {
    if (!this.#view) {
      const { fd, what } = this.descriptor
      if (this.size > MAX_VIEW_BYTES) throw new RangeError(`${what}: ${this.size} bytes are too many for one view`)
      this.#view = new PageView(mapFile(`mapping ${what}`, fd, 0, this.size), what)
    }
    return this.#view.bytes
  }

  /**
   * Has the processor see what devices wrote. This thread waits for those that write it now (with WRITE, for all that use it),
   * for as long as they like: who cannot wait asks `idle` first.
   */
  beginAccess(access: DmaBufAccess): void {
    this.#sync(access)
  }

  /** Has devices see what the processor wrote. */
  endAccess(access: DmaBufAccess): void {
    this.#sync(access | DMA_BUF_SYNC_END)
  }

  /**
   * What devices still do to it, as a fence: a descriptor that is readable once they are done.
   * @param access what is to be done then: reading waits for those who write, writing for everybody
   */
  exportSyncFile(access: DmaBufAccess): Descriptor {
    const what = `the fence of ${this.descriptor.what}`
    const argument = Int32Array.of(access, -1)
    ioctl(`exporting ${what}`, this.descriptor.fd, Request.DMA_BUF_IOCTL_EXPORT_SYNC_FILE, argument)
    return new Descriptor(argument[1], what)
  }

  /** Has everybody who waits for this buffer wait for a fence too, which it borrows. */
  importSyncFile(fence: Descriptor, access: DmaBufAccess): void {
    const purpose = `adding ${fence.what} to ${this.descriptor.what}`
    ioctl(purpose, this.descriptor.fd, Request.DMA_BUF_IOCTL_IMPORT_SYNC_FILE, Int32Array.of(access, fence.fd))
  }

  /** Whether it can be read, or written, without waiting for a device. */
  idle(access: DmaBufAccess): boolean {
    const events = access === DmaBufAccess.READ ? POLLIN : POLLOUT
    const [low, high] = new Int16Array(Int32Array.of(this.descriptor.fd).buffer)
    return poll(`asking whether ${this.descriptor.what} is in use`, Int16Array.of(low, high, events, 0), 1, 0) > 0
  }

  /** Whether anybody besides this object has it: another descriptor, a mapping, a device that imported it. */
  get isHeldElsewhere(): boolean {
    const [, count] = /^count:\s*(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${this.descriptor.fd}`, 'latin1')) ?? []
    return count !== '1'
  }

  /** What lists of the system's buffers call it. @throws {RangeError} where it is longer than 31 bytes */
  setName(name: string): void {
    const bytes = new TextEncoder().encode(`${name}\0`)
    if (bytes.length > DMA_BUF_NAME_LEN) throw new RangeError(`"${name}" is too long a name for a dma-buf`)
    ioctl(`naming ${this.descriptor.what}`, this.descriptor.fd, Request.DMA_BUF_SET_NAME, bytes)
  }

  /** Has what `bytes` was be zeroes. The buffer stays. */
  unmap(): void {
    this.#view?.close()
    this.#view = undefined
  }

  close(): void {
    this.unmap()
    this.descriptor.close()
  }

  #sync(flags: number): void {
    const purpose = `accessing ${this.descriptor.what}`
    ioctl(purpose, this.descriptor.fd, Request.DMA_BUF_IOCTL_SYNC, BigUint64Array.of(BigInt(flags)))
  }
}

/** Whether a descriptor of a peer, which it borrows, is a dma-buf. */
export function isDmaBuf({ fd }: Descriptor): boolean {
  return statfsSync(`/proc/self/fd/${fd}`).type === DMA_BUF_MAGIC
}
