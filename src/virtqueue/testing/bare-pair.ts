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
  /** Negotiated unless told otherwise. */
  readonly indirect?: boolean
  /** 8 MiB from address 0 unless told; the driver uses the first region from 4096 on. */
  readonly memory?: GuestMemory
  /** Told of interrupts, besides counting them. */
  readonly interrupt?: () => void
}

/**
 * Both sides of a queue, and nobody who acts by himself: interrupts are counted, breaks are noted, and what is used
 * stays in the ring until the test collects it. `QueueRig` is the one with a driver that behaves.
 */
export class BarePair {
  readonly memory: GuestMemory
  readonly allocator: GuestAllocator
  readonly driver: SplitDriver | PackedDriver
  readonly queue: QueueControl
  interrupts = 0
  /** What `onBroken` was called with, each time. */
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

  /** Guest memory for one part of a request. */
  part(length: number): Part {
    return { address: this.allocator.allocate(length), length }
  }

  /** The bytes of a part, in place. */
  bytes({ address, length }: Part): Uint8Array {
    const { base, u8 } = this.allocator.region
    return u8.subarray(address - base, address - base + length)
  }
}
