import { EventFd } from '../../../host/linux/event-fd.ts'
import { Mapping } from '../../../host/linux/mapping.ts'
import { MemoryFile } from '../../../host/linux/memory-file.ts'
import type { MemoryRegion } from '../../../memory/memory-region.ts'
import { Feature, hasFeature } from '../../../virtio/feature.ts'
import { GuestAllocator, PackedDriver, type QueueDriver, SplitDriver } from '../../../virtqueue/driver/index.ts'

const MEMORY_BYTES = 1 << 20

/**
 * Guest that outlives connections and back-ends: memory in a file, rings in it, and kick, call and error events.
 */
export class GuestSide {
  readonly file = MemoryFile.create('guest memory', MEMORY_BYTES)
  readonly region: MemoryRegion
  readonly allocator: GuestAllocator
  readonly queues: QueueDriver[] = []
  readonly kicks: EventFd[] = []
  readonly calls: EventFd[] = []
  readonly errors: EventFd[] = []
  readonly #mapping = Mapping.of(this.file.descriptor, { offset: 0, length: MEMORY_BYTES })

  constructor() {
    this.region = this.#mapping.regions(0)[0]
    this.allocator = new GuestAllocator(this.region, 4096)
  }

  /** Creates a ring and its events. */
  makeQueue(index: number, size: number, features: bigint): QueueDriver {
    const Driver = hasFeature(features, Feature.RING_PACKED) ? PackedDriver : SplitDriver
    const queue = new Driver(this.allocator, {
      size,
      eventIdx: hasFeature(features, Feature.EVENT_IDX),
      inOrder: hasFeature(features, Feature.IN_ORDER),
    })
    this.queues[index] = queue
    this.kicks[index] ??= EventFd.create(`kick ${index}`)
    this.calls[index] ??= EventFd.create(`call ${index}`)
    this.errors[index] ??= EventFd.create(`error ${index}`)
    return queue
  }

  close(): void {
    // `Object.values` skips rings that were not created.
    for (const events of [this.kicks, this.calls, this.errors]) for (const event of Object.values(events)) event.close()
    this.#mapping.close()
  }
}
