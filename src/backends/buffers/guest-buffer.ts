import type { UdmabufProblem } from '../../host/linux/udmabuf/udmabuf-error.ts'
import type { FramebufferLayout } from '../../services/framebuffer-layout.ts'
import type { Rect } from '../../services/rect.ts'
import type { BufferKind, SharedBuffer } from '../../services/shared-buffer.ts'
import type { BufferHandles, BufferMemory } from './buffer-memory.ts'

/** Origin and kind of a buffer. */
export interface BufferInfo {
  /** Name, such as `resource 7`. */
  readonly name: string
  /** Reason for its kind, as text for the operator. */
  readonly reason: string
  /** Reason why it is not a dma-buf; undefined for a dma-buf. */
  readonly problem: UdmabufProblem | undefined
  /** Owner of its memory. */
  readonly owner: 'guest' | 'heap' | 'host'
  /** Pieces of guest memory that it consists of (spans), and of files (pieces, adjacent spans merged). */
  readonly spans: number
  readonly pieces: number
  /** True if consumers keep these pages when the owner discards them and gets new ones. */
  readonly keepsPages: boolean
}

/** Listener for events of buffers. */
export interface BufferListener {
  /** A buffer was created. Its framebuffer layout follows with `described`, if it has one. */
  added?(buffer: GuestBuffer): void
  /** It received a UUID by which other devices can import it. */
  named?(buffer: GuestBuffer): void
  /** It received a framebuffer layout, or another one. */
  described?(buffer: GuestBuffer): void
  /** Pixels within `damage` changed. */
  presented?(buffer: GuestBuffer, damage: Rect): void
  /** The guest ended the export. Consumers that hold it keep its memory. */
  removed?(buffer: GuestBuffer): void
}

/** Listener of the collection that owns a buffer. */
export interface BufferOwner extends Required<Omit<BufferListener, 'added'>> {
  /** Neither the guest nor a consumer holds it: its memory is closed. */
  closed(buffer: GuestBuffer): void
}

/** State of a buffer, as the inspector and metrics show it. */
export type BufferInspection = {
  readonly name: string
  readonly kind: BufferKind
  readonly reason: string
  /** Null for a dma-buf. */
  readonly problem: UdmabufProblem | null
  readonly owner: BufferInfo['owner']
  readonly bytes: number
  readonly spans: number
  readonly pieces: number
  /** Null without a UUID. */
  readonly uuid: string | null
  /** Size and number of planes of its framebuffer layout; null if unknown. */
  readonly picture: { readonly width: number; readonly height: number; readonly planes: number } | null
  /** Number of consumers that hold it. */
  readonly holders: number
  /** True if the guest ended the export and only consumers hold it. */
  readonly removed: boolean
}

/**
 * A buffer of the guest that other processes and devices of this host can use.
 *
 *     if (!buffer.retain()) return                   // closed already
 *     const handles = buffer.handles                 // open until `release`
 *     if (handles.kind === 'dma-buf') stream.send(message, [handles.descriptor])
 *     ...
 *     buffer.release()
 *
 * The guest may end the export at any time; listeners receive `removed`. Consumers that hold the buffer keep its
 * memory.
 */
export class GuestBuffer implements SharedBuffer {
  readonly byteLength: number
  #uuid: Uint8Array | undefined
  #layout: FramebufferLayout | undefined
  #holders = 0
  #removed = false
  /** Neither the guest nor a consumer holds it. */
  #closed = false

  /** @param memory the buffer owns it */
  constructor(
    readonly info: BufferInfo,
    private readonly memory: BufferMemory,
    private readonly owner: BufferOwner,
  ) {
    this.byteLength = memory.byteLength
  }

  get name(): string {
    return this.info.name
  }

  get kind(): BufferKind {
    return this.memory.kind
  }

  get reason(): string {
    return this.info.reason
  }

  get bytes(): Uint8Array {
    return this.memory.bytes
  }

  get uuid(): Uint8Array | undefined {
    return this.#uuid
  }

  /** Framebuffer layout; undefined if unknown. */
  get layout(): FramebufferLayout | undefined {
    return this.#layout
  }

  /** True if the guest ended the export. */
  get removed(): boolean {
    return this.#removed
  }

  get inUse(): boolean {
    if (this.info.keepsPages) return false
    if (!this.#removed) return this.#holders > 0
    this.#closeIfUnused()
    return !this.#closed
  }

  /** Descriptors that consumers need. Valid only while the buffer is held. */
  get handles(): BufferHandles {
    return this.memory.handles
  }

  beginRead(): void {
    this.memory.beginRead()
  }

  endRead(): void {
    this.memory.endRead()
  }

  assignUuid(uuid: Uint8Array): void {
    if (this.#removed) return
    this.#uuid = uuid.slice()
    this.owner.named(this)
  }

  describe(layout: FramebufferLayout): void {
    if (this.#removed) return
    this.#layout = layout
    this.owner.described(this)
  }

  present(damage: Rect): void {
    if (!this.#removed) this.owner.presented(this, damage)
  }

  /** Holds it for a consumer, until the matching `release`. @returns false if it is closed already */
  retain(): boolean {
    if (this.#closed) return false
    this.#holders++
    return true
  }

  release(): void {
    if (this.#holders === 0) throw new Error(`${this.name} was released more often than retained`)
    this.#holders--
    this.#closeIfUnused()
  }

  /**
   * Ends the export and closes the memory if no consumer holds it, even if a consumer may still map it: the heap is
   * closing.
   */
  forceClose(): void {
    this.close()
    if (this.#holders === 0 && !this.#closed) this.#closeMemory()
  }

  close(): void {
    if (this.#removed) return
    this.#removed = true
    // Hold it while listeners run: one of them may release it.
    this.#holders++
    this.owner.removed(this)
    this.memory.unmap()
    this.release()
  }

  inspect(): BufferInspection {
    const { name, reason, problem = null, owner, spans, pieces } = this.info
    const layout = this.#layout
    return {
      name,
      kind: this.kind,
      reason,
      problem,
      owner,
      bytes: this.byteLength,
      spans,
      pieces,
      uuid: this.#uuid ? hex(this.#uuid) : null,
      picture: layout ? { width: layout.width, height: layout.height, planes: layout.planes.length } : null,
      holders: this.#holders,
      removed: this.#removed,
    }
  }

  /**
   * Closes it if the export ended and it has no holders. A consumer may still use heap memory after its release: then
   * the place in the heap must not be reused yet.
   */
  #closeIfUnused(): void {
    const { owner, keepsPages } = this.info
    if (this.#closed || !this.#removed || this.#holders > 0) return
    if (owner === 'heap' && !keepsPages && this.memory.isHeldElsewhere) return
    this.#closeMemory()
  }

  #closeMemory(): void {
    this.#closed = true
    this.memory.close()
    this.owner.closed(this)
  }
}

/** Returns a UUID in hexadecimal. */
export function hex(uuid: Uint8Array): string {
  return Array.from(uuid, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
