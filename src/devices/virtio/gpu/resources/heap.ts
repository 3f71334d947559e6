import { copyBytes } from '../../../../memory/copy-bytes.ts'
import type { MemoryRegion } from '../../../../memory/memory-region.ts'
import type { SpanList } from '../../../../memory/span-list.ts'
import { HEAP_PAGE, type HeapMemory } from '../../../../services/heap-memory.ts'
import type { SharedBuffer } from '../../../../services/shared-buffer.ts'
import { GpuResponse } from '../protocol.ts'
import { type Range, RangeMap } from './heap-ranges.ts'

const { OK_NODATA, ERR_OUT_OF_MEMORY, ERR_INVALID_PARAMETER } = GpuResponse

/** State of a heap, as the inspector shows it. */
export type HeapInspection = {
  readonly blocks: number
  /** Bytes of all blocks. */
  readonly bytes: number
  readonly quota: number
  readonly mapped: number
  /** Blocks that the guest freed and consumers still read. */
  readonly held: number
  /** Blocks in the store: the guest never mapped them, or mapped another block over them. */
  readonly stored: number
  /** Number of copies of a block from one place to another. */
  readonly moves: number
}

/** Place of a block: a range of the window or of the store. */
interface Place extends Range {
  readonly region: MemoryRegion
  readonly block: HeapBlock
}

/** Block of a heap: memory that the guest and the host can access. */
export class HeapBlock {
  /** Undefined before the block is mapped or needs memory: until then all of it is zero. */
  place: Place | undefined
  /** True while the guest has it mapped. */
  mapped = false
  /** The buffer that exports the block; the block then keeps its place. */
  shared: SharedBuffer | undefined

  /** @param length in bytes, whole pages */
  constructor(readonly length: number) {}

  /**
   * Copies up to `length` bytes to `target`.
   * @returns the bytes copied; 0 if the block has no place and thus reads as zero
   */
  read(offset: number, target: Uint8Array, targetOffset: number, length: number): number {
    const { place } = this
    if (!place) return 0
    const take = Math.max(0, Math.min(length, this.length - offset))
    copyBytes(place.region.u8, place.offset + offset, target, targetOffset, take)
    return take
  }

  /** Appends the memory of `length` bytes. @returns false if the block has no place or is shorter */
  locate(offset: number, length: number, into: SpanList): boolean {
    const { place } = this
    if (!place || offset + length > this.length) return false
    into.merge(place.region, place.offset + offset, length)
    return true
  }
}

/**
 * Heap of graphics memory that belongs to the device. Guests map it through the host-visible window.
 *
 *     const heap = new GpuHeap(memory)
 *     const block = heap.create(8 << 20)        // undefined: more than the quota
 *     heap.map(block, 0x10000)                  // at the offset that the guest chose
 *     heap.unmap(block)                         // the bytes stay until another block is mapped over them
 *     heap.free(block)                          // the bytes become zero
 *
 * The transport maps the window as a whole, once. Mapping a block therefore moves no page and costs the guest no exit,
 * but the memory of a block must be where the guest maps it. A block that is not mapped keeps its place until the guest
 * maps another block there; it is then copied to the store, and copied back when it is mapped again. An exported block
 * always keeps its place, since consumers read it there.
 */
export class GpuHeap {
  readonly quota: number
  readonly pageSize: number
  readonly #memory: HeapMemory
  readonly #window: RangeMap<Place>
  readonly #store: RangeMap<Place>
  /** Blocks that the guest freed and consumers still read. */
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

  /** Creates a block of at least `size` bytes, all zero; undefined if the quota does not allow it. */
  create(size: number): HeapBlock | undefined {
    this.#freeReleased()
    const length = Math.ceil(size / this.pageSize) * this.pageSize
    if (!(length > 0 && this.#bytes + length <= this.quota)) return undefined
    this.#blocks++
    this.#bytes += length
    return new HeapBlock(length)
  }

  /** Maps a block at an offset of the window. @virtio 5.7.6.9 RESOURCE_MAP_BLOB */
  map(block: HeapBlock, offset: number): GpuResponse {
    const { window } = this.#memory
    if (block.mapped || offset % this.pageSize !== 0 || offset + block.length > window.size)
      return ERR_INVALID_PARAMETER
    this.#freeReleased()
    const here = block.place?.region === window && block.place.offset === offset
    if (!here) {
      const others = this.#window.overlapping(offset, block.length)
      if (others.some((place) => place.block.mapped)) return ERR_INVALID_PARAMETER
      // Consumers read exported blocks in place and cannot follow a move.
      if (block.shared || others.some((place) => place.block.shared)) return ERR_OUT_OF_MEMORY
      // The block itself may be among them.
      for (const place of others) if (!this.#moveToStore(place.block)) return ERR_OUT_OF_MEMORY
      this.#move(block, { region: window, offset, length: block.length, block })
    }
    block.mapped = true
    this.#mapped++
    return OK_NODATA
  }

  /** Gives a block that was never mapped a place in the store. @returns false if there is no room */
  ensurePlace(block: HeapBlock): boolean {
    return block.place !== undefined || this.#moveToStore(block)
  }

  unmap(block: HeapBlock): GpuResponse {
    if (!block.mapped) return ERR_INVALID_PARAMETER
    block.mapped = false
    this.#mapped--
    return OK_NODATA
  }

  /** Frees a block, mapped or not; its buffer must be closed. Its place stays in use while consumers still read it. */
  free(block: HeapBlock): void {
    this.unmap(block)
    if (block.shared?.inUse) this.#held.add(block)
    else this.#remove(block)
  }

  #freeReleased(): void {
    for (const block of this.#held) {
      if (block.shared?.inUse) continue
      this.#held.delete(block)
      this.#remove(block)
    }
  }

  #remove(block: HeapBlock): void {
    this.#move(block, undefined)
    this.#blocks--
    this.#bytes -= block.length
  }

  inspect(): HeapInspection {
    this.#freeReleased()
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

  /** Moves a block to the store. @returns false if there is no room */
  #moveToStore(block: HeapBlock): boolean {
    const { length } = block
    const offset = this.#store.findFree(length, this.pageSize)
    if (offset === undefined) return false
    this.#move(block, { region: this.#memory.store, offset, length, block })
    return true
  }

  /** Moves a block, or removes its place, and clears the one it had. */
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
