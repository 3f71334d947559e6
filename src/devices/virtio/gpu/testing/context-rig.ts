import type { Display } from '../../../../services/display.ts'
import type { DeviceRigOptions } from '../../../../virtio/testing/device-rig.ts'
import type { GpuOptions } from '../gpu.ts'
import { GpuCommand as T } from '../protocol.ts'
import { GpuHeap } from '../resources/heap.ts'
import { type Entry, type GpuReply, GpuRig, type RequestOptions } from './gpu-rig.ts'
import { MemoryHeap } from './memory-heap.ts'

/** Capability set 5. */
export const CROSS_DOMAIN = 5
/** Command numbers of that protocol. */
export const INIT = 1
export const GET_IMAGE_REQUIREMENTS = 2

/** Returns the fourcc of a format. */
export function fourcc(name: string): number {
  return name.split('').reduce((code, letter, i) => code | (letter.charCodeAt(0) << (8 * i)), 0) >>> 0
}

/** Answer in the query ring. */
export interface Requirements {
  readonly strides: readonly number[]
  readonly offsets: readonly number[]
  readonly modifier: readonly number[]
  readonly size: readonly number[]
  readonly blobId: number
  readonly mapInfo: number
  readonly indices: readonly number[]
}

/**
 * A GPU with a heap, and contexts of its guest.
 *
 *     const gpu = new ContextRig()
 *     gpu.open(7)                                  // a context with a query ring, resource 100
 *     const { size, blobId } = gpu.require(7, 64, 64)
 *     gpu.createHostBlob(7, 1, blobId, size[0])
 *     gpu.map(1, 0)
 *     gpu.memory.window.u8                         // the memory that the guest draws to
 */
export class ContextRig extends GpuRig {
  readonly memory: MemoryHeap
  readonly heap: GpuHeap
  #ring: Entry = { address: 0, length: 0 }

  /** @param others further displays of the GPU */
  constructor(
    options: GpuOptions & { readonly heapSize?: number } = {},
    rigOptions?: DeviceRigOptions,
    others?: readonly Display[],
  ) {
    const memory = new MemoryHeap(options.heapSize ?? 1 << 20)
    const heap = new GpuHeap(memory)
    super({ heap, ...options }, rigOptions, others)
    this.memory = memory
    this.heap = heap
  }

  createContext(context: number, capset = CROSS_DOMAIN, name = ''): GpuReply {
    const letters = Array.from({ length: 16 }, (_, i) => fourcc(name.slice(4 * i, 4 * i + 4)))
    return this.control(T.CTX_CREATE, [name.length, capset, ...letters], { context })
  }

  destroyContext(context: number): GpuReply {
    return this.control(T.CTX_DESTROY, [], { context })
  }

  attachResource(context: number, id: number): GpuReply {
    return this.control(T.CTX_ATTACH_RESOURCE, [id, 0], { context })
  }

  detachResource(context: number, id: number): GpuReply {
    return this.control(T.CTX_DETACH_RESOURCE, [id, 0], { context })
  }

  submit(context: number, words: readonly number[], options?: RequestOptions): GpuReply {
    return this.control(T.SUBMIT_3D, [words.length * 4, 0, ...words], { context, ...options })
  }

  /** Creates a context with a query ring. */
  open(context: number, ringId = 100): void {
    this.#ring = this.page(4096)
    this.createContext(context)
    this.createBlob(ringId, 4096, [this.#ring], 1, 1)
    this.attachResource(context, ringId)
    this.submit(context, command(INIT, [ringId, 0, 0]))
  }

  query(context: number, width: number, height: number, format = 'XR24'): GpuReply {
    return this.submit(context, command(GET_IMAGE_REQUIREMENTS, [width, height, fourcc(format), 0]))
  }

  /** Queries the requirements of an image, and reads the query ring of the context that was opened last. */
  require(context: number, width: number, height: number, format?: string): Requirements {
    this.query(context, width, height, format)
    return this.ring()
  }

  ring(): Requirements {
    const bytes = this.driver.rigs[0].peek(this.#ring.address, 64)
    const words = [...new Uint32Array(bytes.slice().buffer)]
    return {
      strides: words.slice(0, 4),
      offsets: words.slice(4, 8),
      modifier: words.slice(8, 10),
      size: words.slice(10, 12),
      blobId: words[12],
      mapInfo: words[13],
      indices: words.slice(14),
    }
  }

  createHostBlob(context: number, id: number, blobId: number, size: number, blobMem = 2, blobFlags = 1): GpuReply {
    const words = [id, blobMem, blobFlags, 0, blobId, 0, size >>> 0, Math.floor(size / 2 ** 32)]
    return this.control(T.RESOURCE_CREATE_BLOB, words, { context })
  }

  map(id: number, offset: number): GpuReply {
    return this.control(T.RESOURCE_MAP_BLOB, [id, 0, offset >>> 0, Math.floor(offset / 2 ** 32)])
  }

  unmap(id: number): GpuReply {
    return this.control(T.RESOURCE_UNMAP_BLOB, [id, 0])
  }
}

/** Returns a command of the cross-domain protocol: header and body. */
export function command(type: number, words: readonly number[]): number[] {
  return [type | ((8 + 4 * words.length) << 16), 0, ...words]
}
