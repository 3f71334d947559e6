import type { Descriptor } from '../../host/linux/descriptor.ts'
import type { DmaBuf } from '../../host/linux/udmabuf/dma-buf.ts'
import { DmaBufAccess, type FileExtent } from '../../host/linux/udmabuf/protocol.ts'
import type { BufferKind } from '../../services/shared-buffer.ts'
import type { HeldExtent, HeldExtents } from './held-files.ts'
import { LinearView } from './linear-view.ts'

/**
 * Handles by which consumers access a buffer. The descriptors are borrowed: they stay open while the buffer is held.
 */
export type BufferHandles =
  | { readonly kind: 'dma-buf'; readonly descriptor: Descriptor }
  /** Consumers map the extents one after another. A file gives access to all of its contents. */
  | { readonly kind: 'linear'; readonly extents: readonly HeldExtent[] }

/** Memory of a buffer, and its handles. */
export interface BufferMemory {
  readonly kind: BufferKind
  readonly handles: BufferHandles
  readonly byteLength: number
  readonly bytes: Uint8Array
  beginRead(): void
  endRead(): void
  /** True if another process or device is known to hold it, even after its release. */
  readonly isHeldElsewhere: boolean
  /** Ends the use by this process: `bytes` become zeroes. Consumers are not affected. */
  unmap(): void
  /** Closes the handles. */
  close(): void
}

/** Memory of a dma-buf. */
export class DmaBufMemory implements BufferMemory {
  readonly kind = 'dma-buf'
  #bytes: Uint8Array | undefined
  #reading = false
  #mapped = true

  /** @param log receives a line about each failure */
  constructor(
    private readonly buffer: DmaBuf,
    private readonly log: (line: string) => void,
  ) {}

  get handles(): BufferHandles {
    return { kind: 'dma-buf', descriptor: this.buffer.descriptor }
  }

  get byteLength(): number {
    return this.buffer.size
  }

  get bytes(): Uint8Array {
    this.#bytes ??= this.#map()
    return this.#bytes
  }

  /**
   * While a device writes to it, DMA_BUF_IOCTL_SYNC would wait for that device, for an unbounded time. Then the bytes
   * are read without synchronization.
   */
  beginRead(): void {
    if (!this.#mapped) return
    this.#reading = this.#try(() => {
      if (!this.buffer.idle(DmaBufAccess.READ)) return false
      this.buffer.beginAccess(DmaBufAccess.READ)
      return true
    })
  }

  endRead(): void {
    if (!this.#reading) return
    this.#reading = false
    this.#try(() => {
      this.buffer.endAccess(DmaBufAccess.READ)
      return true
    })
  }

  /** True if the system does not say. */
  get isHeldElsewhere(): boolean {
    try {
      return this.buffer.isHeldElsewhere
    } catch {
      return true
    }
  }

  unmap(): void {
    this.endRead()
    this.#mapped = false
    this.buffer.unmap()
  }

  close(): void {
    this.buffer.close()
  }

  #map(): Uint8Array {
    try {
      if (this.#mapped) return this.buffer.bytes
    } catch (error) {
      this.log(error instanceof Error ? error.message : String(error))
    }
    return new Uint8Array(this.byteLength)
  }

  #try(act: () => boolean): boolean {
    try {
      return act()
    } catch (error) {
      this.log(error instanceof Error ? error.message : String(error))
      return false
    }
  }
}

/** Memory in memory files. This process maps it on the first read. */
export class LinearMemory implements BufferMemory {
  readonly kind = 'linear'
  /** The kernel does not say who maps a file. */
  readonly isHeldElsewhere = false
  readonly byteLength: number
  #view: LinearView | undefined
  #bytes: Uint8Array | undefined
  #mapped = true

  /**
   * @param held the memory owns it
   * @param what name of the buffer, for messages
   * @param why reason why there is no dma-buf
   * @param unmapped called when this process no longer maps its pieces, and never will
   * @throws {UdmabufError} if they can never be mapped
   */
  constructor(
    private readonly held: HeldExtents,
    private readonly what: string,
    private readonly why: string,
    private readonly log: (line: string) => void,
    private readonly unmapped: () => void,
  ) {
    this.byteLength = LinearView.check(this.#extents, what)
  }

  get handles(): BufferHandles {
    return { kind: 'linear', extents: this.held.extents }
  }

  get bytes(): Uint8Array {
    this.#bytes ??= this.#map()
    return this.#bytes
  }

  beginRead(): void {}

  endRead(): void {}

  unmap(): void {
    this.#mapped = false
    this.#view?.close()
    this.unmapped()
  }

  close(): void {
    this.held.close()
  }

  get #extents(): FileExtent[] {
    return this.held.extents.map(({ file, offset, length }) => ({ fd: file.fd, offset, length }))
  }

  #map(): Uint8Array {
    try {
      if (this.#mapped) {
        this.#view = LinearView.of(this.#extents, this.what, this.why)
        return this.#view.bytes
      }
    } catch (error) {
      this.log(error instanceof Error ? error.message : String(error))
    }
    return new Uint8Array(this.byteLength)
  }
}
