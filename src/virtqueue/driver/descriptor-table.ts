import type { MemoryRegion } from '../../memory/memory-region.ts'
import { DESC_ADDR_HI, DESC_ADDR_LO, DESC_LEN, DESC_TAIL, DESC_WORDS } from '../ring-layout.ts'

/** Table of descriptors in guest memory: of a ring, or indirect. */
export class DescriptorTable {
  readonly address: number
  readonly #region: MemoryRegion
  readonly #word: number

  constructor(region: MemoryRegion, address: number) {
    this.#region = region
    this.address = address
    this.#word = (address - region.base) / 4
  }

  /** Writes the address (64 bits) and length of a descriptor, which are all words but the last. */
  describe(index: number, address: number, length: number): void {
    const words = this.#region.u32
    const at = this.#word + index * DESC_WORDS
    words[at + DESC_ADDR_LO] = address
    words[at + DESC_ADDR_HI] = address / 2 ** 32
    words[at + DESC_LEN] = length
  }

  /** Writes the last word of a descriptor: flags and next in a split ring, id and flags in a packed ring. */
  setTail(index: number, low: number, high: number): void {
    this.#region.u32[this.#word + index * DESC_WORDS + DESC_TAIL] = low | (high << 16)
  }

  length(index: number): number {
    return this.#region.u32[this.#word + index * DESC_WORDS + DESC_LEN]
  }

  /** Low half of the last word: flags in a split ring, id in a packed ring. */
  tailLow(index: number): number {
    return this.#region.u16[(this.#word + index * DESC_WORDS + DESC_TAIL) * 2]
  }

  /** High half of the last word: next in a split ring, flags in a packed ring. */
  tailHigh(index: number): number {
    return this.#region.u16[(this.#word + index * DESC_WORDS + DESC_TAIL) * 2 + 1]
  }
}
