import { fstatSync } from 'node:fs'
import { LinearView } from '../../backends/buffers/linear-view.ts'
import { pageSize } from '../../host/linux/address-space.ts'
import type { Descriptor } from '../../host/linux/descriptor.ts'
import { DmaBuf } from '../../host/linux/udmabuf/dma-buf.ts'
import { DmaBufAccess } from '../../host/linux/udmabuf/protocol.ts'
import type { FramebufferLayout } from '../../services/framebuffer-layout.ts'
import type { BufferKind } from '../../services/shared-buffer.ts'
import { FrameError } from './frame-error.ts'

/** Announcement of a buffer. */
export interface BufferAnnouncement {
  readonly id: number
  readonly kind: BufferKind
  readonly byteLength: number
  /** Name from the guest's device. */
  readonly name: string
  /** Reason for its kind, in one line. */
  readonly reason: string
  /** Reason why its bytes are not shared; empty if they are. */
  readonly withheld: string
}

/** Part of a memory file of a buffer. */
export interface ReceivedExtent {
  readonly file: Descriptor
  readonly offset: number
  readonly length: number
}

/** Mapping of a buffer's bytes. */
interface View {
  readonly bytes: Uint8Array
  beginRead(): void
  endRead(): void
  close(): void
}

/**
 * Buffer of a guest, received by this program.
 *
 *     import(buffer.descriptor, buffer.picture)       // a dma-buf: for a GPU, a compositor, an encoder
 *     buffer.bytes                                    // or read here, in place
 *     buffer.release()
 *
 * It stays valid after the guest takes it back (`removed`), until it is released: by `release`, or by the client when
 * no frame of it is open and `keep` was not called.
 */
export class ReceivedBuffer {
  readonly id: number
  readonly kind: BufferKind
  readonly byteLength: number
  readonly name: string
  readonly reason: string
  readonly withheld: string
  /** Framebuffer layout; undefined if the guest did not describe it. */
  picture: FramebufferLayout | undefined
  /** UUID of the buffer between devices of the guest: 16 bytes; undefined if it has none. */
  uuid: Uint8Array | undefined
  /** True after the guest took it back. */
  removed = false
  #kept = false
  #released = false
  readonly #extents: readonly ReceivedExtent[]
  #dmaBuf: DmaBuf | undefined
  #view: View | undefined

  /** @param descriptors owned by the buffer @param extents of a linear buffer, in those files */
  constructor(
    statement: BufferAnnouncement,
    private readonly descriptors: readonly Descriptor[],
    extents: readonly ReceivedExtent[],
    private readonly onRelease: (buffer: ReceivedBuffer) => void,
  ) {
    this.id = statement.id
    this.kind = statement.kind
    this.byteLength = statement.byteLength
    this.name = statement.name
    this.reason = statement.reason
    this.withheld = statement.withheld
    this.#extents = extents
    if (this.kind === 'dma-buf' && descriptors.length > 0) this.#dmaBuf = DmaBuf.fromDescriptor(descriptors[0])
  }

  /** The dma-buf, borrowed, open until the buffer is released. @throws {FrameError} if the buffer is linear */
  get descriptor(): Descriptor {
    if (this.#dmaBuf) return this.#dmaBuf.descriptor
    throw new FrameError(`${this.name} is not a dma-buf: ${this.withheld || this.reason}`)
  }

  /** Extents of a linear buffer in memory files, in order; empty if they are not shared. */
  get extents(): readonly ReceivedExtent[] {
    return this.#extents
  }

  /**
   * All bytes of the buffer in place, mapped at first use. Read those of a dma-buf between `beginRead` and `endRead`.
   * Zeroes after the release.
   * @throws {FrameError} if the bytes are not shared
   */
  get bytes(): Uint8Array {
    this.#view ??= this.#open()
    return this.#view.bytes
  }

  /** True if `beginRead` would not block. */
  get idle(): boolean {
    return this.#dmaBuf?.idle(DmaBufAccess.READ) ?? true
  }

  /** Begins CPU reads: blocks until devices finished writing the buffer. */
  beginRead(): void {
    this.#view ??= this.#open()
    this.#view.beginRead()
  }

  endRead(): void {
    this.#view?.endRead()
  }

  get released(): boolean {
    return this.#released
  }

  /** True if the client does not release it when the guest takes it back. */
  get kept(): boolean {
    return this.#kept
  }

  /** Keeps the buffer until `release`, also if the guest takes it back. */
  keep(): void {
    this.#kept = true
  }

  /** Closes the buffer and notifies the server, which announces it again when a scanout that shows it changes. */
  release(): void {
    if (this.#released) return
    this.close()
    this.onRelease(this)
  }

  /** Closes the buffer without notifying the server. */
  close(): void {
    this.#released = true
    this.#view?.close()
    this.#dmaBuf?.close()
    for (const descriptor of this.descriptors) descriptor.close()
  }

  #open(): View {
    if (this.#released) throw new FrameError(`${this.name} is released: its bytes are no longer mapped`)
    if (this.withheld !== '') throw new FrameError(`the bytes of ${this.name} are not shared: ${this.withheld}`)
    return this.#dmaBuf ? viewOfDmaBuf(this.#dmaBuf) : this.#viewOfFiles()
  }

  #viewOfFiles(): View {
    const sizes = new Map(this.descriptors.map((file) => [file, fstatSync(file.fd).size]))
    const page = pageSize()
    for (const { file, offset, length } of this.#extents) {
      // Touching pages past the end of a file raises SIGBUS.
      const inside = offset + length <= (sizes.get(file) ?? 0)
      if (!inside || offset % page !== 0 || length % page !== 0) {
        throw new FrameError(`the extents of ${this.name} are not whole pages within their files`)
      }
    }
    const extents = this.#extents.map(({ file, offset, length }) => ({ fd: file.fd, offset, length }))
    const view = LinearView.of(extents, this.name, this.reason)
    return { bytes: view.bytes, beginRead() {}, endRead() {}, close: () => view.close() }
  }
}

function viewOfDmaBuf(buffer: DmaBuf): View {
  return {
    bytes: buffer.bytes,
    beginRead: () => buffer.beginAccess(DmaBufAccess.READ),
    endRead: () => buffer.endAccess(DmaBufAccess.READ),
    // The buffer owns this mapping, and closes it.
    close() {},
  }
}
