import { copyBytes } from '../../../../memory/copy-bytes.ts'
import { MemoryRegion } from '../../../../memory/memory-region.ts'
import type { ScatterList } from '../../../../memory/scatter-list.ts'
import type { SpanList } from '../../../../memory/span-list.ts'
import type { SurfacePath } from '../../../../services/display.ts'
import type { NotShared, SharedBuffer, ShareRequest } from '../../../../services/shared-buffer.ts'
import { layoutEnd, type PixelLayout } from '../pixels/pixel-layout.ts'
import { BlobFlag } from '../protocol.ts'
import { backingCost } from './backing.ts'
import { ResourceExport } from './resource-export.ts'

/** Host memory charged for any resource, in bytes: the object and its entry in the table. */
const RESOURCE_COST = 512

/** Unit of exported memory in bytes. */
const PAGE = 0x1000

const SHAREABLE_FLAGS = BlobFlag.USE_SHAREABLE | BlobFlag.USE_CROSS_DEVICE | BlobFlag.CREATE_GUEST_HANDLE

/**
 * Resource: holds pixels or bytes, and has an id that the guest chose. @virtio 5.7.6
 *
 * Surfaces read through it, so it outlives its pages: without pages it reads as black.
 */
export abstract class Resource {
  /** How displays read its pixels, and why. */
  abstract readonly path: SurfacePath
  abstract readonly reason: string
  /** Pages that the guest attached, in the memory map or not. */
  #attached: ScatterList | undefined
  /** Host memory charged for them, in bytes. */
  #attachedCost = 0
  /** `ScatterList.revision` of the attached pages that `memoryChanged` saw last. */
  #revision = 0
  /** Bytes transferred into it by commands of the guest. */
  bytesTransferred = 0
  #flushedBytes = 0
  /** Its export to other processes and devices. */
  readonly exported = new ResourceExport()

  constructor(readonly id: number) {}

  /** Guest pages of the resource; undefined if none are attached or they are not in the memory map. */
  get backing(): ScatterList | undefined {
    return this.#attached?.present ? this.#attached : undefined
  }

  /** Guest address and length of each range of attached pages, one after another; undefined if none are attached. */
  get ranges(): Float64Array | undefined {
    return this.#attached?.ranges
  }

  /** True if the guest attached pages and did not detach them. */
  get attached(): boolean {
    return this.#attached !== undefined
  }

  attach(backing: ScatterList): void {
    this.#attached = backing
    this.#attachedCost = backingCost(backing)
    this.#revision = backing.revision
  }

  /** Call after the memory map changed. @returns true if attached pages moved in it, left it, or returned */
  memoryChanged(): boolean {
    const before = this.#revision
    this.#revision = this.#attached?.revision ?? 0
    return this.#revision !== before
  }

  /** The buffer that exports its bytes; undefined if it is not exported. */
  get buffer(): SharedBuffer | undefined {
    return this.exported.buffer
  }

  /** Marks a flush. @returns the bytes transferred into it since the flush before */
  flush(): number {
    const transferred = this.bytesTransferred - this.#flushedBytes
    this.#flushedBytes = this.bytesTransferred
    return transferred
  }

  /** Host memory charged for it, in bytes. */
  get hostBytes(): number {
    return RESOURCE_COST + this.#attachedCost
  }

  /** Size of its pixels or bytes. */
  abstract get byteLength(): number

  /** True if the backing is large enough. */
  abstract accepts(backing: ScatterList): boolean

  /** Copies up to `length` bytes, within `target`. @returns the bytes copied; fewer if it has no bytes there */
  abstract read(offset: number, target: Uint8Array, targetOffset: number, length: number): number

  /** Appends the memory of `length` bytes. @returns false if a part is missing */
  abstract locate(offset: number, length: number, into: SpanList): boolean

  /** Sets the buffer that exports its bytes. @param buffer the resource owns it */
  share(buffer: SharedBuffer): void {
    this.exported.begin(buffer)
  }

  /** Detaches the guest pages. */
  detach(): void {
    this.#attached = undefined
    this.#attachedCost = 0
    this.#revision = 0
  }

  /** Releases all memory and the buffer. Surfaces that still read it see black. */
  release(): void {
    this.detach()
    this.exported.end()
  }
}

/**
 * 2D resource: a copy on the host, which only TRANSFER_TO_HOST_2D changes. Its backing may have any size: each transfer
 * checks the part that it reads.
 */
export class Resource2d extends Resource {
  readonly path = 'copy'
  readonly reason: string
  /** The host's copy, laid out as `layout`. */
  shadow: Uint8Array
  /** The copy as a region, for `locate`. */
  #region: MemoryRegion | undefined

  /**
   * @param memory of the copy if it can be exported; otherwise the reason. Undefined if the device does not export
   * @throws {RangeError} if the host has no memory for the copy
   */
  constructor(
    id: number,
    readonly layout: PixelLayout,
    memory?: SharedBuffer | NotShared,
  ) {
    super(id)
    const shared = memory && 'kind' in memory ? memory : undefined
    this.shadow = shared ? shared.bytes.subarray(0, layoutEnd(layout)) : new Uint8Array(layoutEnd(layout))
    this.reason = explain('2D resource: a copy that only TRANSFER_TO_HOST_2D changes', memory)
    if (shared) this.share(shared)
    else this.exported.refuse(memory as NotShared | undefined)
  }

  /** Returns the host memory that a new 2D resource needs, in bytes. */
  static cost(layout: PixelLayout): number {
    return RESOURCE_COST + layoutEnd(layout)
  }

  override get hostBytes(): number {
    return super.hostBytes + this.shadow.length
  }

  get byteLength(): number {
    return layoutEnd(this.layout)
  }

  accepts(): boolean {
    return true
  }

  read(offset: number, target: Uint8Array, targetOffset: number, length: number): number {
    const take = Math.max(0, Math.min(length, this.shadow.length - offset))
    copyBytes(this.shadow, offset, target, targetOffset, take)
    return take
  }

  locate(offset: number, length: number, into: SpanList): boolean {
    if (offset + length > this.shadow.length) return false
    this.#region ??= MemoryRegion.over(0, this.shadow)
    into.merge(this.#region, offset, length)
    return true
  }

  override release(): void {
    super.release()
    this.shadow = new Uint8Array(0)
    this.#region = undefined
  }
}

/** Blob: bytes without a format that the guest and the host can access. Nothing is copied until a display reads it. */
export abstract class Blob extends Resource {
  /** Owner of its memory. */
  abstract readonly owner: ShareRequest['owner']
  /** Source of its bytes, as text for the operator. */
  protected abstract get where(): string
  /** True if it has bytes to scan out. */
  abstract readonly hasBytes: boolean
  /** True for CREATE_GUEST_HANDLE: it must be exported as a dma-buf. */
  readonly dmaBufOnly: boolean
  readonly #createdShareable: boolean

  /** @param size in bytes @param flags bits of `BlobFlag` */
  constructor(
    id: number,
    readonly size: number,
    readonly flags = 0,
  ) {
    super(id)
    this.#createdShareable = (flags & SHAREABLE_FLAGS) !== 0
    this.dmaBufOnly = (flags & BlobFlag.CREATE_GUEST_HANDLE) !== 0
  }

  /** True if the guest created it shareable or gave it a UUID: commands fail if it cannot be exported. */
  get mustShare(): boolean {
    return this.#createdShareable || this.exported.uuid !== undefined
  }

  get byteLength(): number {
    return this.size
  }

  get path(): SurfacePath {
    return this.buffer?.kind ?? 'scatter'
  }

  get reason(): string {
    return explain(this.where, this.buffer ?? this.exported.refusal)
  }

  /** Appends the whole pages that contain its bytes. @returns false if it has none */
  abstract pages(into: SpanList): boolean
}

/** Guest blob: pages of the guest are the resource. */
export class GuestBlob extends Blob {
  readonly owner = 'guest'

  protected get where(): string {
    return this.hasBytes ? 'guest blob: read directly from the guest pages' : 'guest blob without pages: black'
  }

  get hasBytes(): boolean {
    return this.backing !== undefined
  }

  accepts(backing: ScatterList): boolean {
    return backing.byteLength >= this.size
  }

  /** Leaves out backing pages past the end of the resource: they may hold other guest data. */
  pages(into: SpanList): boolean {
    const { backing } = this
    const whole = Math.ceil(this.size / PAGE) * PAGE
    return backing?.locate(0, Math.min(whole, backing.byteLength), into) ?? false
  }

  read(offset: number, target: Uint8Array, targetOffset: number, length: number): number {
    const { buffer, backing } = this
    const want = Math.min(length, this.size - offset)
    if (!buffer) return backing?.read(offset, target, targetOffset, want) ?? 0
    // The buffer is contiguous, unlike the pages.
    const take = Math.max(0, Math.min(want, buffer.bytes.length - offset))
    copyBytes(buffer.bytes, offset, target, targetOffset, take)
    return take
  }

  locate(offset: number, length: number, into: SpanList): boolean {
    return offset + length <= this.size && (this.backing?.locate(offset, length, into) ?? false)
  }

  override detach(): void {
    this.#endExport()
    super.detach()
  }

  /** Ends the export if the pages changed: the buffer consists of pages that are no longer the blob's. */
  override memoryChanged(): boolean {
    const changed = super.memoryChanged()
    if (changed) this.#endExport()
    return changed
  }

  #endExport(): void {
    this.exported.end()
    // Other pages may be exportable.
    this.exported.forget()
  }
}

/** Appends the result of the export to the reason. */
function explain(where: string, outcome: { readonly reason: string } | undefined): string {
  return outcome ? `${where}; ${outcome.reason}` : where
}
