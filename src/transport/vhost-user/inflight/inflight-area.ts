import type { Descriptor } from '../../../host/linux/descriptor.ts'
import { Mapping } from '../../../host/linux/mapping.ts'
import { MemoryFile } from '../../../host/linux/memory-file.ts'
import type { RequestOf } from '../messages.ts'
import { VhostUserError } from '../vhost-user-error.ts'

export type InflightDescription = RequestOf<'SET_INFLIGHT_FD'>

/** Alignment of regions in bytes: one cache line. */
const REGION_ALIGNMENT = 64
const MAX_QUEUE_SIZE = 32768
/** Maximum size of an area in bytes: 256 packed queues of the maximum size. */
const MAX_BYTES = 1 << 29

/** Region of one queue, as bytes, halves and words. */
export interface InflightRegion {
  readonly u8: Uint8Array
  readonly u16: Uint16Array
  readonly u32: Uint32Array
}

/** Sizes of a region's header and of an entry, in bytes. */
export interface RegionLayout {
  readonly head: number
  readonly entry: number
}

/**
 * In-flight area: memory kept by the front-end, in which each queue records its chains in flight beyond the life of
 * this process.
 *
 *     | queue 0 | queue 1 | ...
 *
 * @vhost-user Inflight I/O tracking
 */
export class InflightArea {
  readonly description: InflightDescription
  readonly #mapping: Mapping
  /** Descriptor for the front-end, owned by the mapping. */
  readonly descriptor: Descriptor

  private constructor(descriptor: Descriptor, description: InflightDescription) {
    this.description = description
    this.descriptor = descriptor
    this.#mapping = Mapping.of(descriptor, { offset: description.mmapOffset, length: description.mmapSize })
  }

  /** Creates an empty area. */
  static create(queues: number, queueSize: number, layout: RegionLayout): InflightArea {
    if (queues < 1 || queueSize < 1 || queueSize > MAX_QUEUE_SIZE) {
      throw new VhostUserError(`invalid in-flight area: ${queues} queues of ${queueSize} descriptors`)
    }
    const mmapSize = queues * regionBytes(queueSize, layout)
    const file = MemoryFile.create('inflight', mmapSize)
    return new InflightArea(file.descriptor, { mmapSize, mmapOffset: 0, queues, queueSize })
  }

  /** Maps the area that the front-end kept. Takes ownership of the descriptor, even if the call fails. */
  static adopt(descriptor: Descriptor, description: InflightDescription): InflightArea {
    if (description.mmapSize > MAX_BYTES) {
      descriptor.close()
      throw new VhostUserError(`an in-flight area must not exceed ${MAX_BYTES} bytes (${description.mmapSize})`)
    }
    return new InflightArea(descriptor, description)
  }

  /** Returns the region of a queue; undefined if the area has none. */
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
