import type { SpanList } from '../memory/span-list.ts'
import type { FramebufferLayout } from './picture.ts'
import type { Rect } from './rect.ts'

/**
 * How the host's devices and processes get at a buffer: `dma-buf` is imported by devices; `linear` is in files of memory
 * that processes map, and no device imports.
 */
export type BufferKind = 'dma-buf' | 'linear'

/** Bytes that the guest and the host both have, one behind the other for the host wherever they lie in the guest. */
export interface SharedBuffer {
  readonly kind: BufferKind
  /** Why it is of that kind, for people. */
  readonly reason: string
  readonly byteLength: number
  /** All of them, in place, as the guest draws on them; zeroes once it is closed. Mapped at first use. */
  readonly bytes: Uint8Array
  /** Before `bytes` are read: devices may have written them, too. */
  beginRead(): void
  endRead(): void
  /** Other devices may ask for it by this name from now on. @param uuid 16 bytes */
  assignUuid(uuid: Uint8Array): void
  /** What it is to whoever imports it. */
  describe(picture: FramebufferLayout): void
  /** Pixels of the picture changed, those within the rectangle, which may reach beyond it. Only where no scanout shows it. */
  present(damage: Rect): void
  /**
   * Whether somebody else may be reading the bytes where they lie, after `close` as before: then a place in the heap is given
   * to nobody else. Never so of a buffer whose consumers keep their pages when those are discarded.
   */
  readonly inUse: boolean
  /** The guest takes its bytes back. Whoever imported the buffer is told, and keeps what it has. */
  close(): void
}

/** A buffer that cannot be had. */
export interface NotShared {
  /** What is wrong and how to mend it, for people. */
  readonly reason: string
  /** One of a few words for what is wrong, such as `too-large`: to count by. */
  readonly problem: string
}

export interface ShareRequest {
  /** What it is, for messages and lists: `resource 7`. */
  readonly what: string
  /** Whose memory it is: the heap's is ours, and may be sealed. */
  readonly owner: 'guest' | 'heap'
  /** Only a dma-buf will do. */
  readonly dmaBufOnly: boolean
}

/**
 * Gives the guest's buffers to other devices and processes of the host, without a copy. What the GPU needs of its host for
 * that; a GPU without it shares nothing outside its own process. Nothing here throws.
 *
 *     const buffer = sharing.share(spans, { what: 'resource 7', owner: 'guest', dmaBufOnly: false })
 *     if (!('kind' in buffer)) return refuse(buffer.reason)
 *     buffer.describe(picture)
 *     ...
 *     buffer.close()
 */
export interface BufferSharing {
  /** @param spans whole pages, borrowed for the call */
  share(spans: SpanList, request: ShareRequest): SharedBuffer | NotShared
  /** New memory of the host for a picture that is a copy, all zero. */
  allocate(byteLength: number, what: string): SharedBuffer | NotShared
}
