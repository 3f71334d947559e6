import { DESC_BYTES } from '../ring-layout.ts'
import { DescriptorTable } from './descriptor-table.ts'
import type { GuestAllocator } from './guest-allocator.ts'

/** One indirect table for each descriptor of a ring, made when first needed and made again when it is too short. */
export class IndirectTables {
  readonly #allocator: GuestAllocator
  readonly #tables: (DescriptorTable | undefined)[] = []
  readonly #capacities: number[] = []

  constructor(allocator: GuestAllocator) {
    this.#allocator = allocator
  }

  get(index: number, entries: number): DescriptorTable {
    const known = this.#tables[index]
    if (known && this.#capacities[index] >= entries) return known
    if (known) this.#allocator.free(known.address)
    const table = new DescriptorTable(this.#allocator.region, this.#allocator.allocate(entries * DESC_BYTES))
    this.#tables[index] = table
    this.#capacities[index] = entries
    return table
  }
}
