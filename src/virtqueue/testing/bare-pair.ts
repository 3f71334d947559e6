import { GuestMemory } from '../../memory/guest-memory.ts'
import { MemoryRegion } from '../../memory/memory-region.ts'
import { createDeviceQueue } from '../create-device-queue.ts'
import type { QueueControl } from '../device-queue.ts'
import { GuestAllocator, PackedDriver, type Part, SplitDriver } from '../driver/index.ts'

export interface PairOptions {
  readonly packed: boolean
  readonly size: number
  readonly eventIdx?: boolean
  readonly inOrder?: boolean
  /** Whether INDIRECT_DESC is negotiated. @default true */
  readonly indirect?: boolean
  /** Guest memory; the driver uses the first region from offset 4096. @default 8 MiB at address 0 */
  readonly memory?: GuestMemory
  /** Called at each interrupt, in addition to counting it. */
  readonly interrupt?: () => void
}

/**
 * Both sides of a queue without automatic steps: interrupts are counted, reasons of broken rings are recorded, and used
 * requests stay in the ring until the test collects them. `QueueRig` collects them by itself.
 */
export class BarePair {
  readonly memory: GuestMemory
  readonly allocator: GuestAllocator
  readonly driver: SplitDriver | PackedDriver
  readonly queue: QueueControl
  interrupts = 0
  /** Reasons that `onBroken` was called with. */
  readonly breaks: string[] = []

  constructor(options: PairOptions) {
    const { packed, size, eventIdx = false, inOrder = false, indirect = true } = options
    this.memory = options.memory ?? new GuestMemory([MemoryRegion.over(0, new Uint8Array(8 << 20))])
    this.allocator = new GuestAllocator(this.memory.regions[0], 4096)
    const Driver = packed ? PackedDriver : SplitDriver
    this.driver = new Driver(this.allocator, { size, eventIdx, inOrder })
    this.queue = createDeviceQueue({
      index: 0,
      size,
      packed,
      eventIdx,
      inOrder,
      indirect,
      memory: this.memory,
      ...this.driver.addresses,
      interrupt: () => {
        this.interrupts++
        options.interrupt?.()
      },
      onBroken: (reason) => {
        this.breaks.push(reason)
      },
    })
  }

  /** Allocates guest memory for one part of a request. */
  part(length: number): Part {
    return { address: this.allocator.allocate(length), length }
  }

  /** Returns a view of a part's bytes. */
  bytes({ address, length }: Part): Uint8Array {
    const { base, u8 } = this.allocator.region
    return u8.subarray(address - base, address - base + length)
  }
}
