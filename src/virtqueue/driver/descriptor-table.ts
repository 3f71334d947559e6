import type { MemoryRegion } from '../../memory/memory-region.ts'
import { DESC_ADDR_HI, DESC_ADDR_LO, DESC_LEN, DESC_TAIL, DESC_WORDS } from '../ring-layout.ts'

/** Descriptors in guest memory, written one at a time: a ring's own, or an indirect table. */
export class DescriptorTable {
  readonly address: number
  readonly #region: MemoryRegion
  readonly #word: number

  constructor(region: MemoryRegion, address: number) {
    this.#region = region
    this.address = address
    this.#word = (address - region.base) / 4
  }

  /** Everything but the last word: the address of 64 bits and the length. */
  describe(index: number, address: number, length: number): void {
    const words = this.#region.u32
    const at = this.#word + index * DESC_WORDS
    words[at + DESC_ADDR_LO] = address
    words[at + DESC_ADDR_HI] = address / 2 ** 32
    words[at + DESC_LEN] = length
  }

  /** The last word: flags and next in a split ring, id and flags in a packed one. */
  setTail(index: number, low: number, high: number): void {
    this.#region.u32[this.#word + index * DESC_WORDS + DESC_TAIL] = low | (high << 16)
  }

  length(index: number): number {
    return this.#region.u32[this.#word + index * DESC_WORDS + DESC_LEN]
  }

  /** Of the last word: flags in a split ring, the id in a packed one. */
  tailLow(index: number): number {
    return this.#region.u16[(this.#word + index * DESC_WORDS + DESC_TAIL) * 2]
  }

  /** Of the last word: next in a split ring, flags in a packed one. */
  tailHigh(index: number): number {
    return this.#region.u16[(this.#word + index * DESC_WORDS + DESC_TAIL) * 2 + 1]
  }
}
