import type { ScatterList } from '../../../../memory/scatter-list.ts'
import type { SpanList } from '../../../../memory/span-list.ts'
import type { SharedBuffer } from '../../../../services/shared-buffer.ts'

import { BlobFlag, BlobMem, type GpuResponse, MapCache } from '../protocol.ts'
import type { GpuHeap, HeapBlock } from './heap.ts'
import { Blob } from './resource.ts'

/**
 * Host blob: a block of the device's heap, which the guest can map. @virtio 5.7.6.8 BLOB_MEM_HOST3D,
 * BLOB_MEM_HOST3D_GUEST
 */
export class HostBlob extends Blob {
  readonly owner = 'heap'
  readonly hasBytes = true
  /** Caching with which the guest must map it. */
  readonly mapInfo = MapCache.CACHED
  /** True if it was created with USE_MAPPABLE. */
  readonly mappable: boolean
  readonly #heap: GpuHeap
  readonly #block: HeapBlock
  /** True for HOST3D_GUEST: it may have guest pages, too. */
  readonly #hasGuestPages: boolean

  /** @param block of the heap; the blob owns it */
  constructor({ resourceId, blobMem, blobFlags, size }: BlobRequest, heap: GpuHeap, block: HeapBlock) {
    super(resourceId, size, blobFlags)
    this.mappable = (blobFlags & BlobFlag.USE_MAPPABLE) !== 0
    this.#heap = heap
    this.#block = block
    this.#hasGuestPages = blobMem === BlobMem.HOST3D_GUEST
  }

  protected get where(): string {
    return this.#block.place ? "host blob: read directly from the device's heap" : 'host blob, never mapped: black'
  }

  /** Allocates its memory, if it has none: the guest may never map it. @returns false if there is no room */
  ensurePlace(): boolean {
    return this.#heap.ensurePlace(this.#block)
  }

  /** Copies from the guest pages. The ranges must lie within both, and the blob must have memory. */
  copyIn(guestOffset: number, offset: number, length: number): void {
    const { place } = this.#block
    if (place) this.backing?.read(guestOffset, place.region.u8, place.offset + offset, length)
  }

  /** Copies to the guest pages. The ranges must lie within both, and the blob must have memory. */
  copyOut(guestOffset: number, offset: number, length: number): void {
    const { place } = this.#block
    if (place) this.backing?.write(guestOffset, place.region.u8, place.offset + offset, length)
  }

  map(offset: number): GpuResponse {
    return this.#heap.map(this.#block, offset)
  }

  unmap(): GpuResponse {
    // The blob may be mapped at another offset, where it can be exported.
    this.exported.forget()
    return this.#heap.unmap(this.#block)
  }

  accepts(backing: ScatterList): boolean {
    return this.#hasGuestPages && backing.byteLength >= this.size
  }

  /** Only memory that does not move: in the window, or of a blob that the guest never maps. */
  pages(into: SpanList): boolean {
    const block = this.#block
    const stays = block.place?.region === this.#heap.window || !this.mappable
    return stays && block.locate(0, block.length, into)
  }

  /** An exported block keeps its place. */
  override share(buffer: SharedBuffer): void {
    super.share(buffer)
    this.#block.shared = buffer
  }

  read(offset: number, target: Uint8Array, targetOffset: number, length: number): number {
    return this.#block.read(offset, target, targetOffset, Math.min(length, this.size - offset))
  }

  locate(offset: number, length: number, into: SpanList): boolean {
    return offset + length <= this.size && this.#block.locate(offset, length, into)
  }

  override release(): void {
    super.release()
    this.#heap.free(this.#block)
  }
}

/** Parameters of RESOURCE_CREATE_BLOB. */
export interface BlobRequest {
  readonly resourceId: number
  readonly blobMem: number
  readonly blobFlags: number
  /** Object of the context that the blob is created from. */
  readonly blobId: number
  readonly size: number
}
