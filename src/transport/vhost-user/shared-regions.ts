import { Descriptor } from '../../host/linux/descriptor.ts'
import type { SharedMemoryRegion, VirtioDevice } from '../../virtio/device.ts'
import type { BackendChannel } from './backend-channel.ts'
import type { ReplyOf } from './messages.ts'
import { MMAP_RW, SHMEM_REGIONS } from './protocol.ts'

/** Region that the front-end can map: it has a file, and whole pages. */
interface FileRegion {
  readonly id: number
  readonly size: number
  readonly fd: number
  readonly offset: number
}

const PAGE = 0x1000

/** Shared memory regions of a device, mapped as a whole while there is a driver. @vhost-user SHMEM */
export class SharedRegions {
  readonly #regions: readonly FileRegion[]
  #mapped = false

  constructor(
    device: VirtioDevice,
    private readonly log: (line: string) => void,
  ) {
    this.#regions = (device.sharedMemory ?? []).flatMap(fileRegion)
  }

  get any(): boolean {
    return this.#regions.length > 0
  }

  /** Sizes by region id, for GET_SHMEM_CONFIG. */
  describe(): ReplyOf<'GET_SHMEM_CONFIG'> {
    const elements = new Array<number>(SHMEM_REGIONS).fill(0)
    for (const { id, size } of this.#regions) elements[id] = size
    return { regions: this.#regions.length, elements }
  }

  /** Requests the front-end to map all regions, once. */
  map(channel: BackendChannel): void {
    if (this.#mapped) return
    this.#mapped = true
    for (const { id, size, fd, offset } of this.#regions) {
      const descriptor = new Descriptor(fd, `shared memory ${id}`)
      const request = { shmid: id, fdOffset: offset, shmOffset: 0, length: size, flags: MMAP_RW }
      channel.send('SHMEM_MAP', request, descriptor, {
        answered: (status) => {
          if (status !== 0) this.log(`the front-end cannot map shared memory ${id}`)
        },
      })
      // The descriptor is borrowed from the region.
      if (!descriptor.closed) descriptor.release()
    }
  }

  /** The device was reset: the front-end unmapped all regions. */
  unmapped(): void {
    this.#mapped = false
  }
}

function fileRegion({ id, memory }: SharedMemoryRegion): FileRegion[] {
  const { backing, size } = memory
  if (!backing || id >= SHMEM_REGIONS || size % PAGE !== 0 || backing.offset % PAGE !== 0) return []
  return [{ id, size, ...backing }]
}
