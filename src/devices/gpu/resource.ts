import { copyBytes } from '../../memory/copy-bytes.ts'
import { MemoryRegion } from '../../memory/memory-region.ts'
import type { ScatterList } from '../../memory/scatter-list.ts'
import type { SpanList } from '../../memory/span-list.ts'
import { backingCost } from './backing.ts'
import type { SurfacePath } from './display.ts'
import { type ImageLayout, imageEnd } from './image-layout.ts'

/** What the host keeps for any resource: the object, its place in the table. */
const RESOURCE_COST = 512

/**
 * Something the guest made to hold pixels, and named by a number of its own. @virtio 5.7.6
 *
 * Surfaces read through it, so it outlives its pages: without them there is nothing to read, and nothing to crash on.
 */
export abstract class Resource {
  /** How its pixels reach a display, and why that way. */
  abstract readonly path: SurfacePath
  abstract readonly reason: string
  /** The guest's pages behind it, while it has any. */
  backing: ScatterList | undefined
  /** Bytes the guest had copied into it. */
  bytesTransferred = 0
  /** What other devices call it, once the guest asked for a name. @virtio 5.7.6.8 RESOURCE_ASSIGN_UUID */
  uuid: Uint8Array | undefined

  constructor(readonly id: number) {}

  /** What the host holds for it, in bytes. */
  get hostBytes(): number {
    return RESOURCE_COST + (this.backing ? backingCost(this.backing) : 0)
  }

  /** Whether these pages are enough for it. */
  abstract accepts(backing: ScatterList): boolean

  /** Copies up to `length` bytes, within `target`. @returns the bytes copied: fewer where there are none to copy */
  abstract read(offset: number, target: Uint8Array, targetOffset: number, length: number): number

  /** Appends where `length` bytes lie. @returns whether they are all there */
  abstract locate(offset: number, length: number, into: SpanList): boolean

  /** Lets go of all it holds; surfaces that still read it see nothing. */
  release(): void {
    this.backing = undefined
  }
}

/**
 * A picture with a copy of its own on the host, which changes only when the guest says so: TRANSFER_TO_HOST_2D.
 * Its backing may be any size: the transfers say what they need of it.
 */
export class Resource2d extends Resource {
  readonly path = 'shadow'
  readonly reason = '2D resource: what it shows changes at TRANSFER_TO_HOST_2D only, whatever becomes of the pages'
  /** The host's copy, laid out as `image` says. */
  shadow: Uint8Array
  /** The copy for those who take it from where it lies. */
  #region: MemoryRegion | undefined

  /** @throws {RangeError} where the host has no memory for the copy */
  constructor(
    id: number,
    readonly image: ImageLayout,
  ) {
    super(id)
    this.shadow = new Uint8Array(imageEnd(image))
  }

  /** What one would cost the host, before it is made. */
  static cost(image: ImageLayout): number {
    return RESOURCE_COST + imageEnd(image)
  }

  override get hostBytes(): number {
    return super.hostBytes + this.shadow.length
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
  readonly path = 'in-place'
  /** Whether there is anything to scan out. */
  abstract readonly hasBytes: boolean

  /** @param size bytes the guest says it has */
  constructor(
    id: number,
    readonly size: number,
  ) {
    super(id)
  }
}

/** Pages of the guest that are the resource themselves. */
export class GuestBlob extends Blob {
  readonly reason = 'guest blob: read straight out of the guest pages'

  get hasBytes(): boolean {
    return this.backing !== undefined
  }

  accepts(backing: ScatterList): boolean {
    return backing.byteLength >= this.size
  }

  read(offset: number, target: Uint8Array, targetOffset: number, length: number): number {
    return this.backing?.read(offset, target, targetOffset, Math.min(length, this.size - offset)) ?? 0
  }

  locate(offset: number, length: number, into: SpanList): boolean {
    return offset + length <= this.size && (this.backing?.locate(offset, length, into) ?? false)
  }
}
