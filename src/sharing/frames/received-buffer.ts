import { fstatSync } from 'node:fs'
import { LinearView } from '../../backends/buffers/linear-view.ts'
import { pageSize } from '../../host/linux/address-space.ts'
import type { Descriptor } from '../../host/linux/descriptor.ts'
import { DmaBuf } from '../../host/linux/udmabuf/dma-buf.ts'
import { DmaBufAccess } from '../../host/linux/udmabuf/protocol.ts'
import type { FramebufferLayout } from '../../services/framebuffer-layout.ts'
import type { BufferKind } from '../../services/shared-buffer.ts'
import { FrameError } from './frame-error.ts'

/** What a server says of a buffer, once. */
export interface BufferStatement {
  readonly id: number
  readonly kind: BufferKind
  readonly byteLength: number
  /** What the guest's device calls it. */
  readonly name: string
  /** Why it is of its kind, for people. */
  readonly reason: string
  /** Why its bytes are not given; empty where they are. */
  readonly withheld: string
}

/** A part of a memory file that came with a buffer. */
export interface ReceivedExtent {
  readonly file: Descriptor
  readonly offset: number
  readonly length: number
}

/** What maps a buffer's bytes. */
interface View {
  readonly bytes: Uint8Array
  beginRead(): void
  endRead(): void
  close(): void
}

/**
 * A buffer of a guest, in this program too.
 *
 *     import(buffer.descriptor, buffer.picture)       // of a dma-buf: for a GPU, a compositor, an encoder
 *     buffer.bytes                                    // or read here, where it lies
 *     buffer.release()
 *
 * It stays whole when the guest takes it back (`gone`), until it is released: by hand, or by the client when no frame of it is
 * open and nobody said `keep`.
 */
export class ReceivedBuffer {
  readonly id: number
  readonly kind: BufferKind
  readonly byteLength: number
  readonly name: string
  readonly reason: string
  readonly withheld: string
  /** What it shows, as far as the guest said; undefined where it did not. */
  picture: FramebufferLayout | undefined
  /** What the guest calls it towards other devices: 16 bytes. */
  uuid: Uint8Array | undefined
  /** The guest took it back. */
  gone = false
  #kept = false
  #released = false
  readonly #extents: readonly ReceivedExtent[]
  #dmaBuf: DmaBuf | undefined
  #view: View | undefined

  /** @param descriptors the buffer's from now on; @param extents of a linear one, in files among these */
  constructor(
    statement: BufferStatement,
    private readonly descriptors: readonly Descriptor[],
    extents: readonly ReceivedExtent[],
    private readonly tell: (buffer: ReceivedBuffer) => void,
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

  /** The dma-buf, for whoever imports it: borrowed, open until the buffer is released. @throws {FrameError} where it is none */
  get descriptor(): Descriptor {
    if (this.#dmaBuf) return this.#dmaBuf.descriptor
    throw new FrameError(`${this.name} is no dma-buf: ${this.withheld || this.reason}`)
  }

  /** Where in memory files a linear one lies, one part behind the other; empty where that was not given. */
  get extents(): readonly ReceivedExtent[] {
    return this.#extents
  }

  /**
   * All its bytes in place, mapped at first use: of a dma-buf to be read between `beginRead` and `endRead`. Zeroes after it is
   * released. @throws {FrameError} where they cannot be had
   */
  get bytes(): Uint8Array {
    this.#view ??= this.#open()
    return this.#view.bytes
  }

  /** Whether nobody would wait for a device in `beginRead`. */
  get idle(): boolean {
    return this.#dmaBuf?.idle(DmaBufAccess.READ) ?? true
  }

  /** Has this processor see what devices wrote: waits for those that write it now. */
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

  /** Whether it stays after the guest took it back. */
  get kept(): boolean {
    return this.#kept
  }

  /** It is to stay until `release`, whatever the guest does. */
  keep(): void {
    this.#kept = true
  }

  /** Closes it, here and towards the server, which gives it again when a scanout that shows it changes. */
  release(): void {
    if (this.#released) return
    this.close()
    this.tell(this)
  }

  /** The same without telling. */
  close(): void {
    this.#released = true
    this.#view?.close()
    this.#dmaBuf?.close()
    for (const descriptor of this.descriptors) descriptor.close()
  }

  #open(): View {
    if (this.#released) throw new FrameError(`${this.name} is released: it has no bytes here any more`)
    if (this.withheld !== '') throw new FrameError(`the bytes of ${this.name} are not given: ${this.withheld}`)
    return this.#dmaBuf ? viewOfDmaBuf(this.#dmaBuf) : this.#viewOfFiles()
  }

  #viewOfFiles(): View {
    const sizes = new Map(this.descriptors.map((file) => [file, fstatSync(file.fd).size]))
    const page = pageSize()
    for (const { file, offset, length } of this.#extents) {
      // Who touches what is behind the end of a file ends.
      const inside = offset + length <= (sizes.get(file) ?? 0)
      if (!inside || offset % page !== 0 || length % page !== 0) {
        throw new FrameError(`${this.name} is said to lie where its file has no whole pages`)
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
    // The buffer has its own mapping, and closes it.
    close() {},
  }
}
