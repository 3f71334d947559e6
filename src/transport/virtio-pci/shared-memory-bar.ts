import type { MappableParts } from '../../pci/pci-function.ts'
import { regionBytes, regionFile, type SharedMemoryRegion } from '../../virtio/shared-memory.ts'

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
      end += Math.ceil(regionBytes(region) / ALIGNMENT) * ALIGNMENT
      return { region, offset }
    })
    this.size = 2 ** Math.ceil(Math.log2(Math.max(end, ALIGNMENT)))
  }

  /** Regions that are in the same file as the first region, at the same distance from it as in the BAR. */
  get mappable(): MappableParts | undefined {
    const [first] = this.placed
    const backing = first && regionFile(first.region)
    if (!backing) return undefined
    const areas = this.placed
      .filter(({ region, offset }) => {
        const place = regionFile(region)
        return place?.fd === backing.fd && place.offset - offset === backing.offset && regionBytes(region) % PAGE === 0
      })
      .map(({ region, offset }) => ({ offset, size: regionBytes(region) }))
    return areas.length > 0 && backing.offset % PAGE === 0 ? { ...backing, areas } : undefined
  }

  /** Reads from the regions. Bytes between and after them read as 0, and those of which only the file is known as ones. */
  read(offset: number, width: number): number {
    let value = 0
    for (let i = 0; i < width; i++) value |= this.#readByte(offset + i) << (8 * i)
    return value >>> 0
  }

  write(offset: number, width: number, value: number): void {
    for (let i = 0; i < width; i++) {
      const at = this.#find(offset + i)
      if (at && 'memory' in at.region) at.region.memory.u8[offset + i - at.offset] = value >>> (8 * i)
    }
  }

  #readByte(offset: number): number {
    const at = this.#find(offset)
    if (!at) return 0
    return 'memory' in at.region ? at.region.memory.u8[offset - at.offset] : 0xff
  }

  #find(offset: number): PlacedRegion | undefined {
    return this.placed.find((at) => offset >= at.offset && offset - at.offset < regionBytes(at.region))
  }
}
