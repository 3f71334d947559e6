import { readFileSync, statfsSync } from 'node:fs'
import { mapFile } from '../address-space.ts'
import { Descriptor } from '../descriptor.ts'
import { ioctl, lseek, PollEvent, poll } from '../posix.ts'
import { MAX_VIEW_BYTES, PageView } from './page-view.ts'
import { DMA_BUF_NAME_LEN, DMA_BUF_SYNC_END, DmaBufAccess, Request } from './protocol.ts'

/** Magic number of the file system of dma-bufs; linux/magic.h. */
const DMA_BUF_MAGIC = 0x444d_4142
const SEEK_SET = 0
const SEEK_END = 2

/**
 * A dma-buf: a buffer that drivers of this machine share. A GPU, a compositor or an encoder imports its descriptor.
 *
 *     const buffer = udmabuf.create(extents, 'scanout 0')
 *     stream.send(message, [buffer.descriptor])
 *     buffer.beginAccess(DmaBufAccess.READ)
 *     hash(buffer.bytes)
 *     buffer.endAccess(DmaBufAccess.READ)
 *     buffer.close()
 *
 * It holds its pages itself: an importer needs neither the files they came from nor this object.
 */
export class DmaBuf {
  /** Size in bytes, whole pages. */
  readonly size: number
  #view: PageView | undefined

  private constructor(
    readonly descriptor: Descriptor,
    size: number,
  ) {
    this.size = size
  }

  /**
   * Takes ownership of the descriptor, even if the call fails.
   * @throws {SystemCallError} if the descriptor has no size
   */
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
   * All bytes, mapped on the first access. Touch them between `beginAccess` and `endAccess`; they are zeroes after
   * `close`.
   * @throws {RangeError} if the buffer is larger than 1 GiB
   */
  get bytes(): Uint8Array {
    if (!this.#view) {
      const { fd, what } = this.descriptor
      if (this.size > MAX_VIEW_BYTES)
        throw new RangeError(`${what}: ${this.size} bytes exceed the limit of one view, ${MAX_VIEW_BYTES}`)
      this.#view = new PageView(mapFile(`mapping ${what}`, fd, 0, this.size), what)
    }
    return this.#view.bytes
  }

  /**
   * Makes writes of devices visible to the processor. Blocks this thread until devices that write the buffer (with
   * WRITE: devices that use it) are done, for an unbounded time. Callers that must not block check `idle` first.
   */
  beginAccess(access: DmaBufAccess): void {
    this.#sync(access)
  }

  /** Makes writes of the processor visible to devices. */
  endAccess(access: DmaBufAccess): void {
    this.#sync(access | DMA_BUF_SYNC_END)
  }

  /**
   * Exports the pending accesses of devices as a fence: a descriptor that becomes readable when they are done.
   * @param access planned access: READ waits for devices that write, WRITE for all devices
   */
  exportSyncFile(access: DmaBufAccess): Descriptor {
    const what = `the fence of ${this.descriptor.what}`
    const argument = Int32Array.of(access, -1)
    ioctl(`exporting ${what}`, this.descriptor.fd, Request.DMA_BUF_IOCTL_EXPORT_SYNC_FILE, argument)
    return new Descriptor(argument[1], what)
  }

  /** Adds a fence that users of this buffer must wait for. The fence is borrowed. */
  importSyncFile(fence: Descriptor, access: DmaBufAccess): void {
    const purpose = `adding ${fence.what} to ${this.descriptor.what}`
    ioctl(purpose, this.descriptor.fd, Request.DMA_BUF_IOCTL_IMPORT_SYNC_FILE, Int32Array.of(access, fence.fd))
  }

  /** True if the access does not have to wait for a device. */
  idle(access: DmaBufAccess): boolean {
    const events = access === DmaBufAccess.READ ? PollEvent.IN : PollEvent.OUT
    const [low, high] = new Int16Array(Int32Array.of(this.descriptor.fd).buffer)
    return poll(`asking whether ${this.descriptor.what} is in use`, Int16Array.of(low, high, events, 0), 1, 0) > 0
  }

  /** True if another descriptor, a mapping or an importing device holds the buffer. */
  get isHeldElsewhere(): boolean {
    const [, count] = /^count:\s*(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${this.descriptor.fd}`, 'latin1')) ?? []
    return count !== '1'
  }

  /** Sets the name that lists of the system show. @throws {RangeError} if it is longer than 31 bytes */
  setName(name: string): void {
    const bytes = new TextEncoder().encode(`${name}\0`)
    if (bytes.length > DMA_BUF_NAME_LEN)
      throw new RangeError(`name of a dma-buf is longer than ${DMA_BUF_NAME_LEN - 1} bytes: "${name}"`)
    ioctl(`naming ${this.descriptor.what}`, this.descriptor.fd, Request.DMA_BUF_SET_NAME, bytes)
  }

  /** Unmaps the bytes: earlier values of `bytes` become zeroes. The buffer stays open. */
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

/** True if a descriptor of a peer, which is borrowed, is a dma-buf. */
export function isDmaBuf({ fd }: Descriptor): boolean {
  return statfsSync(`/proc/self/fd/${fd}`).type === DMA_BUF_MAGIC
}
