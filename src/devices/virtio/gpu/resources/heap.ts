import { copyBytes } from '../../../../memory/copy-bytes.ts'
import type { MemoryRegion } from '../../../../memory/memory-region.ts'
import type { SpanList } from '../../../../memory/span-list.ts'
import { HEAP_PAGE, type HeapMemory } from '../../../../services/heap-memory.ts'
import type { SharedBuffer } from '../../../../services/shared-buffer.ts'
import { GpuResponse } from '../protocol.ts'
import { type Range, RangeMap } from './heap-ranges.ts'

const { OK_NODATA, ERR_OUT_OF_MEMORY, ERR_INVALID_PARAMETER } = GpuResponse

/** What the inspector shows of a heap. */
export type HeapInspection = {
  readonly blocks: number
  /** Of the quota. */
  readonly bytes: number
  readonly quota: number
  readonly mapped: number
  /** Blocks that the guest gave back, and that somebody else still reads. */
  readonly held: number
  /** Blocks outside the window: they are never mapped, or the guest gave their places to others. */
  readonly stored: number
  /** How often a block was copied from one place to another. */
  readonly moves: number
}

/** Where a block's bytes are. */
interface Place extends Range {
  readonly region: MemoryRegion
  readonly block: HeapBlock
}

/** Memory of a heap: bytes that the guest and the host both see. */
export class HeapBlock {
  /** None before it is mapped for the first time: nobody wrote to it, and all of it is zero. */
  place: Place | undefined
  /** Whether the guest has it mapped where it is. */
  mapped = false
  /** What gives its bytes to others, where they are: from then on it keeps its place. */
  shared: SharedBuffer | undefined

  /** @param length whole pages */
  constructor(readonly length: number) {}

  /** Copies up to `length` bytes to `target`. @returns the bytes copied: none where there are none but zeroes */
  read(offset: number, target: Uint8Array, targetOffset: number, length: number): number {
    const { place } = this
    if (!place) return 0
    const take = Math.max(0, Math.min(length, this.length - offset))
    copyBytes(place.region.u8, place.offset + offset, target, targetOffset, take)
    return take
  }

  /** Appends where `length` bytes lie. @returns whether they are all there */
  locate(offset: number, length: number, into: SpanList): boolean {
    const { place } = this
    if (!place || offset + length > this.length) return false
    into.merge(place.region, place.offset + offset, length)
    return true
  }
}

/**
 * Graphics memory that belongs to the device, and that guests map through the host-visible window.
 *
 *     const heap = new GpuHeap(memory)
 *     const block = heap.create(8 << 20)        // undefined: more than the quota
 *     heap.map(block, 0x10000)                  // where the guest wants it, from then on its bytes are there
 *     heap.unmap(block)                         // they stay there until the guest maps another one over them
 *     heap.free(block)                          // and nobody finds them any more: the bytes are zero
 *
 * The window is mapped as a whole, once, by whatever carries the device, so that mapping a block moves no page and costs the
 * guest no exit. For that a block's memory is where the guest maps it. One that is mapped nowhere keeps its place as long as
 * nobody else wants it; then it is copied to the store, and back when it is mapped again. One that others have keeps its place
 * always, since it is there that they read it.
 */
export class GpuHeap {
  readonly quota: number
  readonly pageSize: number
  readonly #memory: HeapMemory
  readonly #window: RangeMap<Place>
  readonly #store: RangeMap<Place>
  /** Blocks that the guest gave back, in the places where somebody else still reads them. */
  readonly #held = new Set<HeapBlock>()
  #blocks = 0
  #bytes = 0
  #mapped = 0
  #moves = 0

  constructor(memory: HeapMemory) {
    this.#memory = memory
    this.quota = memory.window.size
    this.pageSize = memory.pageSize ?? HEAP_PAGE
    this.#window = new RangeMap(memory.window.size)
    this.#store = new RangeMap(memory.store.size)
  }

  get window(): MemoryRegion {
    return this.#memory.window
  }

  /** A block of at least `size` bytes, all zero; undefined where that is more than the heap has. */
  create(size: number): HeapBlock | undefined {
    this.#dropReleased()
    const length = Math.ceil(size / this.pageSize) * this.pageSize
    if (!(length > 0 && this.#bytes + length <= this.quota)) return undefined
    this.#blocks++
    this.#bytes += length
    return new HeapBlock(length)
  }

  /** Puts a block where the guest wants it in the window. @virtio 5.7.6.9 RESOURCE_MAP_BLOB */
  map(block: HeapBlock, offset: number): GpuResponse {
    const { window } = this.#memory
    if (block.mapped || offset % this.pageSize !== 0 || offset + block.length > window.size)
      return ERR_INVALID_PARAMETER
    this.#dropReleased()
    const here = block.place?.region === window && block.place.offset === offset
    if (!here) {
      const others = this.#window.within(offset, block.length)
      if (others.some((place) => place.block.mapped)) return ERR_INVALID_PARAMETER
      // Who has a block reads it where it is, which nobody can tell them to have changed.
      if (block.shared || others.some((place) => place.block.shared)) return ERR_OUT_OF_MEMORY
      // It may be one of them.
      for (const place of others) if (!this.#putAway(place.block)) return ERR_OUT_OF_MEMORY
      this.#move(block, { region: window, offset, length: block.length, block })
    }
    block.mapped = true
    this.#mapped++
    return OK_NODATA
  }

  /** Gives a block that was never mapped a place outside the window. @returns whether it has one */
  settle(block: HeapBlock): boolean {
    return block.place !== undefined || this.#putAway(block)
  }

  unmap(block: HeapBlock): GpuResponse {
    if (!block.mapped) return ERR_INVALID_PARAMETER
    block.mapped = false
    this.#mapped--
    return OK_NODATA
  }

  /** Takes a block back, mapped or not; what shares it is closed by now. Its place is nobody's while others still read it. */
  free(block: HeapBlock): void {
    this.unmap(block)
    if (block.shared?.inUse) this.#held.add(block)
    else this.#drop(block)
  }

  #dropReleased(): void {
    for (const block of this.#held) {
      if (block.shared?.inUse) continue
      this.#held.delete(block)
      this.#drop(block)
    }
  }

  #drop(block: HeapBlock): void {
    this.#move(block, undefined)
    this.#blocks--
    this.#bytes -= block.length
  }

  inspect(): HeapInspection {
    this.#dropReleased()
    return {
      blocks: this.#blocks,
      bytes: this.#bytes,
      quota: this.quota,
      mapped: this.#mapped,
      held: this.#held.size,
      stored: this.#store.count,
      moves: this.#moves,
    }
  }

  /** Gives a block a place in the store, with the bytes it has. @returns whether there was room */
  #putAway(block: HeapBlock): boolean {
    const { length } = block
    const offset = this.#store.place(length, this.pageSize)
    if (offset === undefined) return false
    this.#move(block, { region: this.#memory.store, offset, length, block })
    return true
  }

  /** Gives a block another place, or none, and leaves zeroes in the one it had. */
  #move(block: HeapBlock, to: Place | undefined): void {
    const from = block.place
    block.place = to
    if (to) this.#rangesOf(to).add(to)
    if (!from) return
    if (to) {
      copyBytes(from.region.u8, from.offset, to.region.u8, to.offset, from.length)
      this.#moves++
    }
    this.#rangesOf(from).remove(from)
    this.#memory.discard(from.region, from.offset, from.length)
  }

  #rangesOf({ region }: Place): RangeMap<Place> {
    return region === this.#memory.window ? this.#window : this.#store
  }
}
