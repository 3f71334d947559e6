import type { UdmabufProblem } from '../../host/linux/udmabuf/udmabuf-error.ts'
import type { Picture } from '../../services/picture.ts'
import type { Rect } from '../../services/rect.ts'
import type { BufferKind, SharedBuffer } from '../../services/shared-buffer.ts'
import type { BufferHandles, BufferMemory } from './buffer-memory.ts'

/** What a buffer is made of. */
export interface BufferFacts {
  /** `resource 7`. */
  readonly name: string
  /** Why it is of its kind, for people. */
  readonly reason: string
  /** Why it is no dma-buf; undefined where it is one. */
  readonly problem: UdmabufProblem | undefined
  /** Whose bytes they are. */
  readonly owner: 'guest' | 'heap' | 'host'
  /** Pieces of the guest's addresses it was made of, and of files, which neighbours are one of. */
  readonly spans: number
  readonly pieces: number
  /** Whether whoever holds it keeps these very pages while its owner discards them and gets others. */
  readonly keepsPages: boolean
}

/** Who is told of what happens to buffers. */
export interface BufferListener {
  /** There is another one. What it shows comes later, and not at all where it shows nothing. */
  added?(buffer: GuestBuffer): void
  /** It has a name that other devices may ask for. */
  named?(buffer: GuestBuffer): void
  /** It shows a picture, or another one than before. */
  described?(buffer: GuestBuffer): void
  /** Pixels within the rectangle changed. */
  presented?(buffer: GuestBuffer, damage: Rect): void
  /** The guest took its bytes back. Who holds it still has them. */
  removed?(buffer: GuestBuffer): void
}

/** What a buffer tells those who made it. */
export interface BufferOwner extends Required<Omit<BufferListener, 'added'>> {
  /** Nobody has it any more. */
  gone(buffer: GuestBuffer): void
}

/** What the inspector and metrics show of a buffer. */
export type BufferInspection = {
  readonly name: string
  readonly kind: BufferKind
  readonly reason: string
  /** Null for a dma-buf. */
  readonly problem: UdmabufProblem | null
  readonly owner: BufferFacts['owner']
  readonly bytes: number
  readonly spans: number
  readonly pieces: number
  /** Null where it has none. */
  readonly uuid: string | null
  /** What it shows; null where nobody said. */
  readonly picture: { readonly width: number; readonly height: number; readonly planes: number } | null
  /** Consumers that hold it. */
  readonly holders: number
  /** Whether the guest took it back, and only they still have it. */
  readonly removed: boolean
}

/**
 * A buffer of a guest that others on this host have, too.
 *
 *     if (!buffer.retain()) return                   // it is gone
 *     const handles = buffer.handles                 // open until it is released
 *     if (handles.kind === 'dma-buf') stream.send(message, [handles.descriptor])
 *     ...
 *     buffer.release()
 *
 * The guest may take its bytes back at any time, which listeners learn by `removed`; who holds the buffer keeps them.
 */
export class GuestBuffer implements SharedBuffer {
  readonly byteLength: number
  #uuid: Uint8Array | undefined
  #picture: Picture | undefined
  #holders = 0
  #removed = false
  /** Nobody has it. */
  #over = false

  /** @param memory the buffer's from now on */
  constructor(
    readonly facts: BufferFacts,
    private readonly memory: BufferMemory,
    private readonly owner: BufferOwner,
  ) {
    this.byteLength = memory.byteLength
  }

  get name(): string {
    return this.facts.name
  }

  get kind(): BufferKind {
    return this.memory.kind
  }

  get reason(): string {
    return this.facts.reason
  }

  get bytes(): Uint8Array {
    return this.memory.bytes
  }

  get uuid(): Uint8Array | undefined {
    return this.#uuid
  }

  /** What it shows, as far as somebody said. */
  get picture(): Picture | undefined {
    return this.#picture
  }

  /** Whether the guest took its bytes back. */
  get removed(): boolean {
    return this.#removed
  }

  get inUse(): boolean {
    if (this.facts.keepsPages) return false
    if (!this.#removed) return this.#holders > 0
    this.#endIfUnused()
    return !this.#over
  }

  /** What others need to have its bytes. To be asked for while it is held. */
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

  describe(picture: Picture): void {
    if (this.#removed) return
    this.#picture = picture
    this.owner.described(this)
  }

  present(damage: Rect): void {
    if (!this.#removed) this.owner.presented(this, damage)
  }

  /** Keeps it for a consumer, until as many releases. @returns false where nobody has it any more */
  retain(): boolean {
    if (this.#over) return false
    this.#holders++
    return true
  }

  release(): void {
    if (this.#holders === 0) throw new Error(`${this.name} is released more often than it was retained`)
    this.#holders--
    this.#endIfUnused()
  }

  /** The owner of the heap goes, too: nobody is waited for. */
  abandon(): void {
    this.close()
    if (this.#holders === 0 && !this.#over) this.#end()
  }

  close(): void {
    if (this.#removed) return
    this.#removed = true
    // While listeners are told, it is held: one of them may release it.
    this.#holders++
    this.owner.removed(this)
    this.memory.unmap()
    this.release()
  }

  inspect(): BufferInspection {
    const { name, reason, problem = null, owner, spans, pieces } = this.facts
    const picture = this.#picture
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
      picture: picture ? { width: picture.width, height: picture.height, planes: picture.planes.length } : null,
      holders: this.#holders,
      removed: this.#removed,
    }
  }

  /** Who said that they released it may have it still: then its place in the heap is nobody else's yet. */
  #endIfUnused(): void {
    const { owner, keepsPages } = this.facts
    if (this.#over || !this.#removed || this.#holders > 0) return
    if (owner === 'heap' && !keepsPages && this.memory.isHeldElsewhere) return
    this.#end()
  }

  #end(): void {
    this.#over = true
    this.memory.close()
    this.owner.gone(this)
  }
}

/** A UUID's bytes as a key, and for people. */
export function hex(uuid: Uint8Array): string {
  return Array.from(uuid, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
