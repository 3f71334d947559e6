import type { ScatterList } from '../../../../memory/scatter-list.ts'
import type { SpanList } from '../../../../memory/span-list.ts'
import type { SharedBuffer } from '../../../../services/shared-buffer.ts'

import { BlobFlag, BlobMem, type GpuResponse, MapCache } from '../protocol.ts'
import type { GpuHeap, HeapBlock } from './heap.ts'
import { Blob } from './resource.ts'

/** A blob in memory of the device, which the guest maps. @virtio 5.7.6.8 BLOB_MEM_HOST3D, BLOB_MEM_HOST3D_GUEST */
export class HostBlob extends Blob {
  readonly owner = 'heap'
  readonly hasBytes = true
  /** How the guest should map it. */
  readonly mapInfo = MapCache.CACHED
  /** Whether the guest said that it would. */
  readonly mappable: boolean
  readonly #heap: GpuHeap
  readonly #block: HeapBlock
  /** Whether it may have pages of the guest besides. */
  readonly #shadowed: boolean

  /** @param block of the heap, the blob's from now on */
  constructor({ resourceId, blobMem, blobFlags, size }: BlobRequest, heap: GpuHeap, block: HeapBlock) {
    super(resourceId, size, blobFlags)
    this.mappable = (blobFlags & BlobFlag.USE_MAPPABLE) !== 0
    this.#heap = heap
    this.#block = block
    this.#shadowed = blobMem === BlobMem.HOST3D_GUEST
  }

  protected get where(): string {
    return this.#block.place ? "host blob: read straight out of the device's heap" : 'host blob, never mapped: black'
  }

  /** Gives it bytes, if it has none: the guest may never map it. @returns whether there is room for them */
  settle(): boolean {
    return this.#heap.settle(this.#block)
  }

  /** Copies from the guest's pages, within both; the blob is settled. */
  copyIn(guestOffset: number, offset: number, length: number): void {
    const { place } = this.#block
    if (place) this.backing?.read(guestOffset, place.region.u8, place.offset + offset, length)
  }

  /** Copies to the guest's pages, within both; the blob is settled. */
  copyOut(guestOffset: number, offset: number, length: number): void {
    const { place } = this.#block
    if (place) this.backing?.write(guestOffset, place.region.u8, place.offset + offset, length)
  }

  map(offset: number): GpuResponse {
    return this.#heap.map(this.#block, offset)
  }

  unmap(): GpuResponse {
    // It may be mapped elsewhere.
    this.refusal = undefined
    return this.#heap.unmap(this.#block)
  }

  accepts(backing: ScatterList): boolean {
    return this.#shadowed && backing.byteLength >= this.size
  }

  /** Only where it stays: in the window, or where the guest never maps it. */
  pages(into: SpanList): boolean {
    const block = this.#block
    const stays = block.place?.region === this.#heap.window || !this.mappable
    return stays && block.locate(0, block.length, into)
  }

  /** As long as others have it, it keeps its place. */
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

/** What the guest says of a blob. */
export interface BlobRequest {
  readonly resourceId: number
  readonly blobMem: number
  readonly blobFlags: number
  /** The object of the context that it is made from. */
  readonly blobId: number
  readonly size: number
}
