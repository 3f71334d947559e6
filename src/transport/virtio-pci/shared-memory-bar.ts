import type { MappableParts } from '../../pci/pci-function.ts'
import type { SharedMemoryRegion } from '../../virtio/device.ts'

/** Alignment of regions: the largest common page size of guests, so that a guest can map each region separately. */
const ALIGNMENT = 1 << 16
/** Granularity of file mappings. */
const PAGE = 0x1000

interface PlacedRegion {
  readonly region: SharedMemoryRegion
  /** Offset in the BAR, in bytes. */
  readonly offset: number
}

/** BAR that holds a device's shared memory regions in sequence. @virtio 4.1.4.7 */
export class SharedMemoryBar {
  readonly placed: readonly PlacedRegion[]
  /** Size in bytes, a power of two. */
  readonly size: number

  constructor(regions: readonly SharedMemoryRegion[]) {
    let end = 0
    this.placed = regions.map((region) => {
      const offset = end
      end += Math.ceil(region.memory.size / ALIGNMENT) * ALIGNMENT
      return { region, offset }
    })
    this.size = 2 ** Math.ceil(Math.log2(Math.max(end, ALIGNMENT)))
  }

  /** Regions that are in the same file as the first region, at the same distance from it as in the BAR. */
  get mappable(): MappableParts | undefined {
    const [first] = this.placed
    const backing = first?.region.memory.backing
    if (!backing) return undefined
    const areas = this.placed
      .filter(({ region: { memory }, offset }) => {
        const place = memory.backing
        return place?.fd === backing.fd && place.offset - offset === backing.offset && memory.size % PAGE === 0
      })
      .map(({ region, offset }) => ({ offset, size: region.memory.size }))
    return areas.length > 0 && backing.offset % PAGE === 0 ? { ...backing, areas } : undefined
  }

  /** Reads from the regions. Bytes between and after them read as 0. */
  read(offset: number, width: number): number {
    let value = 0
    for (let i = 0; i < width; i++) {
      const at = this.#find(offset + i)
      if (at) value |= at.region.memory.u8[offset + i - at.offset] << (8 * i)
    }
    return value >>> 0
  }

  write(offset: number, width: number, value: number): void {
    for (let i = 0; i < width; i++) {
      const at = this.#find(offset + i)
      if (at) at.region.memory.u8[offset + i - at.offset] = value >>> (8 * i)
    }
  }

  #find(offset: number): PlacedRegion | undefined {
    return this.placed.find((at) => offset >= at.offset && offset - at.offset < at.region.memory.size)
  }
}
