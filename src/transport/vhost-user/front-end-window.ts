import { Descriptor } from '../../host/linux/descriptor.ts'
import type { RegionBacking } from '../../memory/memory-region.ts'
import type { DeviceGuard } from '../../virtio/device-guard.ts'
import type { SharedWindow } from '../../virtio/shared-memory.ts'
import type { BackendChannel } from './backend-channel.ts'
import type { RequestOf } from './messages.ts'
import { MMAP_RW } from './protocol.ts'

const PAGE = 0x1000
/** Maximum number of unanswered messages; further calls fail. */
const MAX_UNANSWERED = 512

/** Window of a device, into which the front-end maps files. @vhost-user SHMEM_MAP, SHMEM_UNMAP */
export class FrontEndWindow implements SharedWindow {
  /** Lengths of mappings by offset, including those that the front-end has not answered. */
  readonly #mappings = new Map<number, number>()
  #unanswered = 0
  #channel: BackendChannel | undefined
  /** Number of the guest's driver: answers for an earlier one are ignored. */
  #driver = 0

  /** @param size in bytes */
  constructor(
    private readonly id: number,
    private readonly size: number,
    private readonly guard: DeviceGuard,
  ) {}

  /** True if the front-end can be asked. */
  get isOpen(): boolean {
    return this.#channel !== undefined && !this.#channel.closed
  }

  open(channel: BackendChannel): void {
    this.#channel = channel
  }

  /** The device was reset: the front-end removed all mappings. */
  clear(): void {
    this.#driver++
    this.#mappings.clear()
    this.#unanswered = 0
  }

  map(offset: number, length: number, file: RegionBacking, writable: boolean, done: (mapped: boolean) => void): void {
    if (!this.#isFree(offset, length) || file.offset % PAGE !== 0) {
      done(false)
      return
    }
    this.#mappings.set(offset, length)
    const request = {
      ...{ shmid: this.id, fdOffset: file.offset, shmOffset: offset, length },
      flags: writable ? MMAP_RW : 0,
    }
    const descriptor = new Descriptor(file.fd, `a file for window ${this.id}`)
    this.#send('SHMEM_MAP', request, descriptor, (mapped) => {
      if (!mapped) this.#mappings.delete(offset)
      done(mapped)
    })
    // The descriptor is borrowed from the caller.
    if (!descriptor.closed) descriptor.release()
  }

  unmap(offset: number, length: number, done: (unmapped: boolean) => void): void {
    if (this.#mappings.get(offset) !== length) {
      done(false)
      return
    }
    const request = { shmid: this.id, fdOffset: 0, shmOffset: offset, length, flags: 0 }
    this.#send('SHMEM_UNMAP', request, undefined, (unmapped) => {
      if (unmapped) this.#mappings.delete(offset)
      done(unmapped)
    })
  }

  #send(
    message: 'SHMEM_MAP' | 'SHMEM_UNMAP',
    request: RequestOf<'SHMEM_MAP'>,
    descriptor: Descriptor | undefined,
    done: (succeeded: boolean) => void,
  ): void {
    const channel = this.#channel
    if (!channel || channel.closed || this.#unanswered >= MAX_UNANSWERED) {
      done(false)
      return
    }
    const driver = this.#driver
    const answered = (succeeded: boolean): void => {
      // The device has forgotten the requests of an earlier driver.
      if (driver !== this.#driver) return
      this.#unanswered--
      this.guard.call('an answer about a window', () => done(succeeded))
    }
    this.#unanswered++
    channel.send(message, request, descriptor, {
      answered: (status) => answered(status === 0),
      lost: () => answered(false),
    })
  }

  #isFree(offset: number, length: number): boolean {
    if (offset < 0 || length <= 0 || offset % PAGE !== 0 || length % PAGE !== 0 || offset + length > this.size)
      return false
    for (const [start, bytes] of this.#mappings) if (offset < start + bytes && start < offset + length) return false
    return true
  }
}
