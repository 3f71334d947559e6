import type { Descriptor } from '../../../host/linux/descriptor.ts'
import { Mapping } from '../../../host/linux/mapping.ts'
import { MemoryFile } from '../../../host/linux/memory-file.ts'
import type { RequestOf } from '../messages.ts'
import { VhostUserError } from '../vhost-user-error.ts'

export type InflightDescription = RequestOf<'SET_INFLIGHT_FD'>

/** Regions of queues begin at multiples of this, so that none shares a line of the processor's cache with another. */
const REGION_ALIGNMENT = 64
const MAX_QUEUE_SIZE = 32768
/** 256 of the longest packed queues. */
const MAX_BYTES = 1 << 29

/** One queue's region, as bytes, halves and words. */
export interface InflightRegion {
  readonly u8: Uint8Array
  readonly u16: Uint16Array
  readonly u32: Uint32Array
}

/** What a region holds before its entries, and an entry, in bytes. */
export interface RegionLayout {
  readonly head: number
  readonly entry: number
}

/**
 * Memory that outlives this process, where each queue writes down what it has in flight. The front-end keeps it.
 *
 *     | queue 0 | queue 1 | ...
 *
 * @vhost-user Inflight I/O tracking
 */
export class InflightArea {
  readonly description: InflightDescription
  readonly #mapping: Mapping
  /** To be sent to the front-end; the mapping's. */
  readonly descriptor: Descriptor

  private constructor(descriptor: Descriptor, description: InflightDescription) {
    this.description = description
    this.descriptor = descriptor
    this.#mapping = Mapping.of(descriptor, { offset: description.mmapOffset, length: description.mmapSize })
  }

  /** A new one, in which nothing is in flight. */
  static create(queues: number, queueSize: number, layout: RegionLayout): InflightArea {
    if (queues < 1 || queueSize < 1 || queueSize > MAX_QUEUE_SIZE) {
      throw new VhostUserError(`an area for ${queues} queues of ${queueSize}`)
    }
    const mmapSize = queues * regionBytes(queueSize, layout)
    const file = MemoryFile.create('inflight', mmapSize)
    return new InflightArea(file.descriptor, { mmapSize, mmapOffset: 0, queues, queueSize })
  }

  /** The one the front-end kept. It owns the descriptor, whatever happens. */
  static adopt(descriptor: Descriptor, description: InflightDescription): InflightArea {
    if (description.mmapSize > MAX_BYTES) {
      descriptor.close()
      throw new VhostUserError(`an area of ${description.mmapSize} bytes`)
    }
    return new InflightArea(descriptor, description)
  }

  /** @returns undefined where the area has no room for that queue */
  region(queue: number, layout: RegionLayout): InflightRegion | undefined {
    const { queues, queueSize } = this.description
    const size = regionBytes(queueSize, layout)
    const { buffer, byteOffset, length } = this.#mapping.bytes
    if (queue >= queues || (queue + 1) * size > length) return undefined
    const at = byteOffset + queue * size
    return {
      u8: new Uint8Array(buffer, at, size),
      u16: new Uint16Array(buffer, at, size / 2),
      u32: new Uint32Array(buffer, at, size / 4),
    }
  }

  close(): void {
    this.#mapping.close()
  }
}

function regionBytes(queueSize: number, { head, entry }: RegionLayout): number {
  return Math.ceil((head + queueSize * entry) / REGION_ALIGNMENT) * REGION_ALIGNMENT
}
