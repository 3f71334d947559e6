import { copyBytes } from '../../../../memory/copy-bytes.ts'
import { MemoryRegion } from '../../../../memory/memory-region.ts'
import type { ScatterList } from '../../../../memory/scatter-list.ts'
import type { SpanList } from '../../../../memory/span-list.ts'
import type { SurfacePath } from '../../../../services/display.ts'
import { type Picture, samePicture } from '../../../../services/picture.ts'
import type { NotShared, SharedBuffer, ShareRequest } from '../../../../services/shared-buffer.ts'
import { type ImageLayout, imageEnd } from '../pixels/image-layout.ts'
import { BlobFlag } from '../protocol.ts'
import { backingCost } from './backing.ts'

/** What the host keeps for any resource: the object, its place in the table. */
const RESOURCE_COST = 512

/** What the host shares is whole ones. */
const PAGE = 0x1000

const FOR_OTHERS = BlobFlag.USE_SHAREABLE | BlobFlag.USE_CROSS_DEVICE | BlobFlag.CREATE_GUEST_HANDLE

/**
 * Something the guest made to hold pixels, and named by a number of its own. @virtio 5.7.6
 *
 * Surfaces read through it, so it outlives its pages: without them there is nothing to read, and nothing to crash on.
 */
export abstract class Resource {
  /** How its pixels reach a display, and why that way. */
  abstract readonly path: SurfacePath
  abstract readonly reason: string
  /** The pages that the guest attached, whether they are guest memory now or not. */
  #attached: ScatterList | undefined
  /** What the host holds for them, in bytes. */
  #attachedCost = 0
  /** `ScatterList.revision` of those pages, as far as it was dealt with. */
  #revision = 0
  /** Bytes the guest had copied into it. */
  bytesTransferred = 0
  #flushedBytes = 0
  /** What other devices call it, once the guest asked for a name. @virtio 5.7.6.8 RESOURCE_ASSIGN_UUID */
  uuid: Uint8Array | undefined
  /** What its bytes are as a picture, where that was said. */
  described: Picture | undefined
  /** Why others cannot have its bytes, where that was tried. */
  refusal: NotShared | undefined
  /** Whether others had its bytes at any time. */
  wasShared = false
  #buffer: SharedBuffer | undefined

  constructor(readonly id: number) {}

  /** The guest's pages behind it; undefined while none are attached, or while they are not in the memory map. */
  get backing(): ScatterList | undefined {
    return this.#attached?.present ? this.#attached : undefined
  }

  /** The guest attached pages, and did not detach them. */
  get attached(): boolean {
    return this.#attached !== undefined
  }

  attach(backing: ScatterList): void {
    this.#attached = backing
    this.#attachedCost = backingCost(backing)
    this.#revision = backing.revision
  }

  /** The memory map changed. @returns whether attached pages moved in it, left it, or came back */
  memoryChanged(): boolean {
    const before = this.#revision
    this.#revision = this.#attached?.revision ?? 0
    return this.#revision !== before
  }

  /** Its bytes as others have them, while they do. */
  get buffer(): SharedBuffer | undefined {
    return this.#buffer
  }

  /** It is flushed. @returns the bytes the guest had copied into it since it last was */
  flush(): number {
    const transferred = this.bytesTransferred - this.#flushedBytes
    this.#flushedBytes = this.bytesTransferred
    return transferred
  }

  /** What the host holds for it, in bytes. */
  get hostBytes(): number {
    return RESOURCE_COST + this.#attachedCost
  }

  /** Bytes of it that could be seen. */
  abstract get byteLength(): number

  /** Whether these pages are enough for it. */
  abstract accepts(backing: ScatterList): boolean

  /** Copies up to `length` bytes, within `target`. @returns the bytes copied: fewer where there are none to copy */
  abstract read(offset: number, target: Uint8Array, targetOffset: number, length: number): number

  /** Appends where `length` bytes lie. @returns whether they are all there */
  abstract locate(offset: number, length: number, into: SpanList): boolean

  /** Others have its bytes from now on. @param buffer its own from now on */
  share(buffer: SharedBuffer): void {
    this.#buffer = buffer
    this.wasShared = true
    if (this.uuid) buffer.assignUuid(this.uuid)
    if (this.described) buffer.describe(this.described)
  }

  /** Others do not get them any more. */
  unshare(): void {
    this.#buffer?.close()
    this.#buffer = undefined
  }

  assignUuid(uuid: Uint8Array): void {
    this.uuid = uuid
    this.#buffer?.assignUuid(uuid)
  }

  describe(picture: Picture): void {
    if (this.described && samePicture(this.described, picture)) return
    this.described = picture
    this.#buffer?.describe(picture)
  }

  /** The guest takes its pages away. */
  detach(): void {
    this.#attached = undefined
    this.#attachedCost = 0
    this.#revision = 0
  }

  /** Lets go of all it holds; surfaces that still read it see nothing. */
  release(): void {
    this.detach()
    this.unshare()
  }
}

/**
 * A picture with a copy of its own on the host, which changes only when the guest says so: TRANSFER_TO_HOST_2D.
 * Its backing may be any size: the transfers say what they need of it.
 */
export class Resource2d extends Resource {
  readonly path = 'copy'
  readonly reason: string
  /** The host's copy, laid out as `image` says. */
  shadow: Uint8Array
  /** The copy for those who take it from where it lies. */
  #region: MemoryRegion | undefined

  /**
   * @param memory for the copy, where others can have it; why they cannot, if they could have others
   * @throws {RangeError} where the host has no memory for the copy
   */
  constructor(
    id: number,
    readonly image: ImageLayout,
    memory?: SharedBuffer | NotShared,
  ) {
    super(id)
    const shared = memory && 'kind' in memory ? memory : undefined
    this.shadow = shared ? shared.bytes.subarray(0, imageEnd(image)) : new Uint8Array(imageEnd(image))
    this.reason = explain('2D resource: it changes at TRANSFER_TO_HOST_2D only, whatever becomes of the pages', memory)
    if (shared) this.share(shared)
    else this.refusal = memory as NotShared | undefined
  }

  /** What one would cost the host, before it is made. */
  static cost(image: ImageLayout): number {
    return RESOURCE_COST + imageEnd(image)
  }

  override get hostBytes(): number {
    return super.hostBytes + this.shadow.length
  }

  get byteLength(): number {
    return imageEnd(this.image)
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

/** Bytes without a format, that the guest and the host both see: nothing is copied before somebody looks. */
export abstract class Blob extends Resource {
  /** Whose memory it is in. */
  abstract readonly owner: ShareRequest['owner']
  /** Where its bytes are read from, for people. */
  protected abstract get where(): string
  /** Whether there is anything to scan out. */
  abstract readonly hasBytes: boolean
  /** Devices have to be able to have its bytes. */
  readonly dmaBufOnly: boolean
  readonly #forOthers: boolean

  /** @param size bytes the guest says it has @param flags what for: bits of `BlobFlag` */
  constructor(
    id: number,
    readonly size: number,
    flags = 0,
  ) {
    super(id)
    this.#forOthers = (flags & FOR_OTHERS) !== 0
    this.dmaBufOnly = (flags & BlobFlag.CREATE_GUEST_HANDLE) !== 0
  }

  /** The guest said that others will have its bytes: without that they are of no use to it. */
  get mustShare(): boolean {
    return this.#forOthers || this.uuid !== undefined
  }

  get byteLength(): number {
    return this.size
  }

  get path(): SurfacePath {
    return this.buffer?.kind ?? 'scatter'
  }

  get reason(): string {
    return explain(this.where, this.buffer ?? this.refusal)
  }

  /** Appends the whole pages its bytes are in. @returns whether it has any */
  abstract pages(into: SpanList): boolean
}

/** Pages of the guest that are the resource themselves. */
export class GuestBlob extends Blob {
  readonly owner = 'guest'

  protected get where(): string {
    return this.hasBytes ? 'guest blob: read straight out of the guest pages' : 'guest blob without pages: black'
  }

  get hasBytes(): boolean {
    return this.backing !== undefined
  }

  accepts(backing: ScatterList): boolean {
    return backing.byteLength >= this.size
  }

  /** Without those behind its end, which are none of anybody's business. */
  pages(into: SpanList): boolean {
    const { backing } = this
    const whole = Math.ceil(this.size / PAGE) * PAGE
    return backing?.locate(0, Math.min(whole, backing.byteLength), into) ?? false
  }

  read(offset: number, target: Uint8Array, targetOffset: number, length: number): number {
    const { buffer, backing } = this
    const want = Math.min(length, this.size - offset)
    if (!buffer) return backing?.read(offset, target, targetOffset, want) ?? 0
    // One run, wherever the pages are.
    const take = Math.max(0, Math.min(want, buffer.bytes.length - offset))
    copyBytes(buffer.bytes, offset, target, targetOffset, take)
    return take
  }

  locate(offset: number, length: number, into: SpanList): boolean {
    return offset + length <= this.size && (this.backing?.locate(offset, length, into) ?? false)
  }

  override detach(): void {
    this.#takeBack()
    super.detach()
  }

  /** A buffer that other programs have is of pages that are not the blob's any more. */
  override memoryChanged(): boolean {
    const changed = super.memoryChanged()
    if (changed) this.#takeBack()
    return changed
  }

  #takeBack(): void {
    this.unshare()
    // Other pages may be shareable.
    this.refusal = undefined
  }
}

/** Adds to why bytes are read as they are what became of sharing them. */
function explain(where: string, outcome: { readonly reason: string } | undefined): string {
  return outcome ? `${where}; ${outcome.reason}` : where
}
