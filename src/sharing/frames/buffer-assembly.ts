import type { Descriptor } from '../../host/linux/descriptor.ts'
import { isDmaBuf } from '../../host/linux/udmabuf/dma-buf.ts'
import type { BufferKind } from '../../services/shared-buffer.ts'
import { type Description, descriptionIn, textIn } from './decode.ts'
import { FrameError } from './frame-error.ts'
import { BUFFER, EXTENTS, WireKind } from './protocol.ts'
import { type BufferAnnouncement, ReceivedBuffer, type ReceivedExtent } from './received-buffer.ts'

/** Buffer that is announced in several messages. Owns the descriptors until it is complete. */
export class BufferAssembly {
  readonly #announcement: BufferAnnouncement
  readonly #description: Description
  readonly #descriptors: readonly Descriptor[]
  readonly #extents: ReceivedExtent[] = []
  readonly #count: number
  #bytes = 0

  /** @throws {Error} after closing the descriptors */
  constructor(payload: Uint8Array, descriptors: readonly Descriptor[]) {
    this.#descriptors = descriptors
    try {
      const said = BUFFER.payload.parse(payload)
      const { nameBytes, reasonBytes } = said
      this.#description = descriptionIn(said.description)
      this.#count = said.extents
      this.#announcement = {
        id: this.#description.id,
        kind: kindIn(said.kind),
        byteLength: said.byteLength,
        name: textIn(said.bytes.subarray(0, nameBytes)),
        reason: textIn(said.bytes.subarray(nameBytes, nameBytes + reasonBytes)),
        withheld: textIn(said.bytes.subarray(nameBytes + reasonBytes)),
      }
      const { kind, withheld } = this.#announcement
      if (kind === 'dma-buf' && !(descriptors.length === 1 && isDmaBuf(descriptors[0]))) {
        throw new FrameError('the message of a dma-buf has no descriptor of one')
      }
      if (kind === 'linear' && withheld === '' && this.#count === 0)
        throw new FrameError('the message of a linear buffer has no extents')
    } catch (error) {
      this.close()
      throw error
    }
  }

  get complete(): boolean {
    return this.#extents.length >= this.#count
  }

  /** Adds extents from an EXTENTS message. @throws {FrameError} if they do not fit the buffer */
  add(payload: Uint8Array): void {
    const { buffer, elements } = EXTENTS.payload.parse(payload)
    if (buffer !== this.#announcement.id) throw new FrameError('extents of another buffer')
    for (const { file, offset, length } of elements) {
      const descriptor = this.#descriptors[file] as Descriptor | undefined
      if (!descriptor) throw new FrameError(`an extent in file ${file}, which was not sent`)
      this.#extents.push({ file: descriptor, offset, length })
      this.#bytes += length
    }
    if (this.complete && this.#bytes !== this.#announcement.byteLength) {
      throw new FrameError(`extents of ${this.#bytes} bytes for a buffer of ${this.#announcement.byteLength}`)
    }
  }

  /** Returns the complete buffer, which owns the descriptors. @param released called when it is released */
  finish(released: (buffer: ReceivedBuffer) => void): ReceivedBuffer {
    const buffer = new ReceivedBuffer(this.#announcement, this.#descriptors, this.#extents, released)
    buffer.picture = this.#description.picture
    buffer.uuid = this.#description.uuid
    return buffer
  }

  /** Closes an incomplete buffer. */
  close(): void {
    for (const descriptor of this.#descriptors) descriptor.close()
  }
}

function kindIn(kind: number): BufferKind {
  if (kind === WireKind.DMA_BUF) return 'dma-buf'
  if (kind === WireKind.LINEAR) return 'linear'
  throw new FrameError(`unknown buffer kind ${kind}`)
}
