import { DESC_BYTES } from '../ring-layout.ts'
import { DescriptorTable } from './descriptor-table.ts'
import type { GuestAllocator } from './guest-allocator.ts'

/** Indirect tables, one for each descriptor of a ring. Allocated on demand, and again if one is too short. */
export class IndirectTables {
  readonly #allocator: GuestAllocator
  readonly #tables: (DescriptorTable | undefined)[] = []
  readonly #capacities: number[] = []

  constructor(allocator: GuestAllocator) {
    this.#allocator = allocator
  }

  get(index: number, entries: number): DescriptorTable {
    const existing = this.#tables[index]
    if (existing && this.#capacities[index] >= entries) return existing
    if (existing) this.#allocator.free(existing.address)
    const table = new DescriptorTable(this.#allocator.region, this.#allocator.allocate(entries * DESC_BYTES))
    this.#tables[index] = table
    this.#capacities[index] = entries
    return table
  }
}
