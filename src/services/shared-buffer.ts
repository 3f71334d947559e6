import type { SpanList } from '../memory/span-list.ts'
import type { FramebufferLayout } from './framebuffer-layout.ts'
import type { Rect } from './rect.ts'

/**
 * Kind of a shared buffer: devices and processes import a `dma-buf`; a `linear` buffer lies in memory files that
 * processes map, and devices cannot import it.
 */
export type BufferKind = 'dma-buf' | 'linear'

/** Shared buffer: memory of the guest, contiguous for the host wherever the guest's pages are. */
export interface SharedBuffer {
  readonly kind: BufferKind
  /** Reason for `kind`, in one line. */
  readonly reason: string
  readonly byteLength: number
  /** The bytes in place, as the guest draws on them; zeroes after `close`. Mapped at first use. */
  readonly bytes: Uint8Array
  /** Begins CPU reads of `bytes`, which devices may have written. */
  beginRead(): void
  endRead(): void
  /** Names the buffer, for other devices of the guest. @param uuid 16 bytes */
  assignUuid(uuid: Uint8Array): void
  /** Sets the layout that consumers receive. */
  describe(layout: FramebufferLayout): void
  /**
   * Notifies consumers of changed pixels, for a buffer that no scanout shows. The rectangle may reach beyond the
   * buffer.
   */
  present(damage: Rect): void
  /**
   * True while a consumer may read the bytes in place, before and after `close`: the heap must not reuse their place.
   * Always false if consumers keep their pages when those are discarded.
   */
  readonly inUse: boolean
  /** Ends the sharing. Consumers are notified, and keep what they imported. */
  close(): void
}

/** Refusal to share a buffer. */
export interface NotShared {
  /** Reason and remedy, in one line. */
  readonly reason: string
  /** Kind of the problem for counters, such as `too-large`. */
  readonly problem: string
}

export interface ShareRequest {
  /** Name of the resource in messages: `resource 7`. */
  readonly what: string
  /** Owner of the memory. Memory files of the heap are ours, and may be sealed. */
  readonly owner: 'guest' | 'heap'
  /** True if a linear buffer is of no use. */
  readonly dmaBufOnly: boolean
}

/**
 * Shares buffers of the guest with other devices and processes of the host, without a copy. A GPU without this service
 * shares nothing outside its own process. Nothing here throws.
 *
 *     const buffer = sharing.share(spans, { what: 'resource 7', owner: 'guest', dmaBufOnly: false })
 *     if (!('kind' in buffer)) return refuse(buffer.reason)
 *     buffer.describe(layout)
 *     ...
 *     buffer.close()
 */
export interface BufferSharing {
  /** Shares guest memory. @param spans whole pages, valid for the call */
  share(spans: SpanList, request: ShareRequest): SharedBuffer | NotShared
  /** Allocates zeroed memory of the host, for resources that are copies. */
  allocate(byteLength: number, what: string): SharedBuffer | NotShared
}
