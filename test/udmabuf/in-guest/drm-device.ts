import { closeSync, openSync, readdirSync, realpathSync } from 'node:fs'
import { Descriptor } from '../../../src/host/linux/descriptor.ts'
import { ioctl } from '../../../src/host/linux/posix.ts'
import { DmaBuf } from '../../../src/host/linux/udmabuf/dma-buf.ts'

// Requests of drm/drm.h and drm/vgem_drm.h.
const DRM_IOCTL_GEM_CLOSE = 0x4008_6409
const DRM_IOCTL_PRIME_HANDLE_TO_FD = 0xc00c_642d
const DRM_IOCTL_PRIME_FD_TO_HANDLE = 0xc00c_642e
const DRM_IOCTL_MODE_MAP_DUMB = 0xc010_64b3
const DRM_IOCTL_VGEM_FENCE_ATTACH = 0xc010_6441
const DRM_IOCTL_VGEM_FENCE_SIGNAL = 0x4008_6442
const VGEM_FENCE_WRITE = 1
const O_RDWR_CLOEXEC = 0x8_0002

/** A graphics driver that imports buffers. */
export class DrmDevice {
  readonly #fd: number

  /** @param place part of the path of its device in /sys: `platform/vgem`, `pci` */
  constructor(place: string) {
    const cards = readdirSync('/sys/class/drm').filter((name) => /^card\d+$/.test(name))
    const card = cards.find((name) => realpathSync(`/sys/class/drm/${name}`).includes(`/devices/${place}`))
    if (card === undefined) throw new Error(`there is no ${place} among ${cards}`)
    this.#fd = openSync(`/dev/dri/${card}`, 'r+')
  }

  /** Imports a dma-buf. @returns its handle in this driver */
  import({ descriptor }: { readonly descriptor: Descriptor }): number {
    const argument = Int32Array.of(0, 0, descriptor.fd)
    ioctl('importing a buffer', this.#fd, DRM_IOCTL_PRIME_FD_TO_HANDLE, argument)
    return argument[0]
  }

  /** Exports a buffer as a dma-buf. */
  export(handle: number): DmaBuf {
    const argument = Int32Array.of(handle, O_RDWR_CLOEXEC, -1)
    ioctl('exporting a buffer', this.#fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, argument)
    return DmaBuf.fromDescriptor(new Descriptor(argument[2], 'a buffer of a driver'))
  }

  /** Requests an offset to map a buffer through this driver. */
  mapDumb(handle: number): void {
    ioctl('mapping a buffer', this.#fd, DRM_IOCTL_MODE_MAP_DUMB, Int32Array.of(handle, 0, 0, 0))
  }

  closeHandle(handle: number): void {
    ioctl('closing a buffer', this.#fd, DRM_IOCTL_GEM_CLOSE, Int32Array.of(handle, 0))
  }

  /** Attaches the fence of a device that reads or writes a buffer. @returns the fence, for `end` */
  begin(handle: number, writes: boolean): number {
    const argument = Int32Array.of(handle, writes ? VGEM_FENCE_WRITE : 0, 0, 0)
    ioctl('beginning work', this.#fd, DRM_IOCTL_VGEM_FENCE_ATTACH, argument)
    return argument[2]
  }

  end(fence: number): void {
    ioctl('ending work', this.#fd, DRM_IOCTL_VGEM_FENCE_SIGNAL, Int32Array.of(fence, 0))
  }

  close(): void {
    closeSync(this.#fd)
  }
}
