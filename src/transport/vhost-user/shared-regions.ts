import { Descriptor } from '../../host/linux/descriptor.ts'
import type { VirtioDevice } from '../../virtio/device.ts'
import type { DeviceGuard } from '../../virtio/device-guard.ts'
import { regionBytes, regionFile, type SharedMemoryRegion, type SharedWindow } from '../../virtio/shared-memory.ts'
import type { BackendChannel } from './backend-channel.ts'
import { FrontEndWindow } from './front-end-window.ts'
import type { ReplyOf } from './messages.ts'
import { MMAP_RW, SHMEM_REGIONS } from './protocol.ts'

/** Region that the front-end can map: it has a file, and whole pages. */
interface MappedRegion {
  readonly id: number
  readonly size: number
  readonly fd: number
  readonly offset: number
}

const PAGE = 0x1000

/**
 * Shared memory regions of a device. Those with a file are mapped as a whole while there is a driver; into windows the
 * device maps files. @vhost-user SHMEM
 */
export class SharedRegions {
  readonly #regions: readonly MappedRegion[]
  readonly #windows = new Map<number, FrontEndWindow>()
  readonly #sizes = new Map<number, number>()
  #mapped = false

  constructor(
    device: VirtioDevice,
    private readonly guard: DeviceGuard,
  ) {
    const regions = device.sharedMemory ?? []
    this.#regions = regions.flatMap(mappedRegion)
    for (const { id, size } of this.#regions) this.#sizes.set(id, size)
    for (const region of regions) {
      if (!('window' in region)) continue
      this.#windows.set(region.id, new FrontEndWindow(region.id, region.size, guard))
      this.#sizes.set(region.id, region.size)
    }
  }

  get any(): boolean {
    return this.#sizes.size > 0
  }

  /** Sizes by region id, for GET_SHMEM_CONFIG. */
  describe(): ReplyOf<'GET_SHMEM_CONFIG'> {
    const elements = new Array<number>(SHMEM_REGIONS).fill(0)
    for (const [id, size] of this.#sizes) elements[id] = size
    return { regions: this.#sizes.size, elements }
  }

  /** Returns a window that the front-end can map files into. */
  window(id: number): SharedWindow | undefined {
    const window = this.#windows.get(id)
    return window?.isOpen ? window : undefined
  }

  /** Requests the front-end to map all regions, once, and opens the windows. */
  map(channel: BackendChannel): void {
    for (const window of this.#windows.values()) window.open(channel)
    if (this.#mapped) return
    this.#mapped = true
    for (const { id, size, fd, offset } of this.#regions) {
      const descriptor = new Descriptor(fd, `shared memory ${id}`)
      const request = { shmid: id, fdOffset: offset, shmOffset: 0, length: size, flags: MMAP_RW }
      channel.send('SHMEM_MAP', request, descriptor, {
        answered: (status) => {
          if (status !== 0) this.guard.log(`the front-end cannot map shared memory ${id}`)
        },
      })
      // The descriptor is borrowed from the region.
      if (!descriptor.closed) descriptor.release()
    }
  }

  /** The device was reset: the front-end unmapped all regions. */
  unmapped(): void {
    this.#mapped = false
    for (const window of this.#windows.values()) window.clear()
  }
}

function mappedRegion(region: SharedMemoryRegion): MappedRegion[] {
  const file = regionFile(region)
  const { id } = region
  const size = regionBytes(region)
  if (!file || id >= SHMEM_REGIONS || size % PAGE !== 0 || file.offset % PAGE !== 0) return []
  return [{ id, size, fd: file.fd, offset: file.offset }]
}
