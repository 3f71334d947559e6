import type { Descriptor } from '../../host/linux/descriptor.ts'
import type { DmaBuf } from '../../host/linux/udmabuf/dma-buf.ts'
import { DmaBufAccess, type FileExtent } from '../../host/linux/udmabuf/protocol.ts'
import type { BufferKind } from '../../services/shared-buffer.ts'
import type { HeldExtent, HeldExtents } from './held-files.ts'
import { LinearView } from './linear-view.ts'

/** What others need to have a buffer's bytes. The descriptors are borrowed: they are open as long as the buffer is held. */
export type BufferHandles =
  | { readonly kind: 'dma-buf'; readonly descriptor: Descriptor }
  /** To be mapped one behind the other. Whoever gets a file gets all that is in it. */
  | { readonly kind: 'linear'; readonly extents: readonly HeldExtent[] }

/** The bytes of a buffer, and how others get at them. */
export interface BufferMemory {
  readonly kind: BufferKind
  readonly handles: BufferHandles
  readonly byteLength: number
  readonly bytes: Uint8Array
  beginRead(): void
  endRead(): void
  /** Whether somebody is known to have it who was given it, and may have said since that they have not. */
  readonly isHeldElsewhere: boolean
  /** This process does without them: its view is zeroes. Others do not notice. */
  unmap(): void
  /** The last of it. */
  close(): void
}

/** Bytes of a dma-buf. */
export class DmaBufMemory implements BufferMemory {
  readonly kind = 'dma-buf'
  #bytes: Uint8Array | undefined
  #reading = false
  #mapped = true

  /** @param tell takes a line about what does not work */
  constructor(
    private readonly buffer: DmaBuf,
    private readonly tell: (line: string) => void,
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
   * While a device writes to it, beginning an access would wait for that device, which may be as slow as it likes: then what
   * is there is read as it is.
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

  /** Where the system does not tell, it is taken to be so. */
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
      this.tell(error instanceof Error ? error.message : String(error))
    }
    return new Uint8Array(this.byteLength)
  }

  #try(act: () => boolean): boolean {
    try {
      return act()
    } catch (error) {
      this.tell(error instanceof Error ? error.message : String(error))
      return false
    }
  }
}

/** Bytes in memory files. This process maps them, one piece behind the other, once it looks at them itself. */
export class LinearMemory implements BufferMemory {
  readonly kind = 'linear'
  /** Nobody knows who maps a file. */
  readonly isHeldElsewhere = false
  readonly byteLength: number
  #view: LinearView | undefined
  #bytes: Uint8Array | undefined
  #mapped = true

  /**
   * @param held for the buffer from now on
   * @param what it is, for messages
   * @param why there is no dma-buf
   * @param unmapped called when this process maps none of its pieces, and will not
   * @throws {UdmabufError} where they could never be mapped
   */
  constructor(
    private readonly held: HeldExtents,
    private readonly what: string,
    private readonly why: string,
    private readonly tell: (line: string) => void,
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
      this.tell(error instanceof Error ? error.message : String(error))
    }
    return new Uint8Array(this.byteLength)
  }
}
