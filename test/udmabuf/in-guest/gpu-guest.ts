import assert from 'node:assert/strict'
import { randomFillSync } from 'node:crypto'
import type { GuestBuffer } from '../../../src/backends/buffers/guest-buffer.ts'
import { GuestBuffers } from '../../../src/backends/buffers/guest-buffers.ts'
import { HeapFiles } from '../../../src/backends/buffers/heap-files.ts'
import { PAGE } from '../../../src/backends/buffers/testing/test-memory.ts'
import type { GpuOptions } from '../../../src/devices/virtio/gpu/gpu.ts'
import { BlobFlag, BlobMem, GpuResponse } from '../../../src/devices/virtio/gpu/protocol.ts'
import { GpuHeap } from '../../../src/devices/virtio/gpu/resources/heap.ts'
import { ContextRig } from '../../../src/devices/virtio/gpu/testing/context-rig.ts'
import type { Entry } from '../../../src/devices/virtio/gpu/testing/gpu-rig.ts'
import { Mapping } from '../../../src/host/linux/mapping.ts'
import { MemoryFile } from '../../../src/host/linux/memory-file.ts'
import type { DmaBuf } from '../../../src/host/linux/udmabuf/dma-buf.ts'
import type { Display } from '../../../src/services/display.ts'
import { DrmDevice } from './drm-device.ts'
import { allBuffers } from './kernel.ts'

/** Where pictures begin in guest memory; what the driver needs for its queues lies below. */
const PICTURES = 16 << 20
const MEMORY_BYTES = 768 << 20
const HEAP_BYTES = 16 << 20
/** Of the guest's program. */
const CONTEXT = 7

interface PictureSize {
  readonly width: number
  readonly height: number
}

export interface GpuGuestOptions extends Omit<GpuOptions, 'heap'> {
  readonly heap?: HeapFiles
  readonly display?: (buffers: GuestBuffers) => Display
}

/**
 * A guest with a GPU of ours whose buffers others can have: its memory is a file, as QEMU's is, and so is its heap.
 *
 *     const guest = new GpuGuest()
 *     const entries = guest.scatter(8)
 *     guest.createBlob(1, entries)
 *     guest.imported().bytes                      // by another driver
 */
export class GpuGuest {
  readonly memory = Mapping.of(MemoryFile.create('guest memory', MEMORY_BYTES).descriptor, {
    offset: 0,
    length: MEMORY_BYTES,
  })
  readonly heap: HeapFiles
  readonly buffers = GuestBuffers.open()
  readonly gpu: ContextRig
  readonly vgem = new DrmDevice('platform/vgem')
  readonly #before = allBuffers().count
  readonly #imports = new Map<DmaBuf, number>()
  /** Pages of pictures that were given out. */
  #pages = 0
  /** Whether its program is there. */
  #opened = false
  /** What its last picture takes. */
  #pictureBytes = 0

  /** @param display makes one that is told of what the guest shows */
  constructor({ heap, display, ...options }: GpuGuestOptions = {}) {
    this.heap = heap ?? HeapFiles.create(HEAP_BYTES)
    const [memory] = this.memory.regions(0)
    const gpu = { sharing: this.buffers, heap: new GpuHeap(this.heap), ...options }
    this.gpu = new ContextRig(gpu, { memory }, display ? [display(this.buffers)] : [])
  }

  /** A blob that the guest asks to be shared. @returns what the GPU answers */
  createBlob(id: number, entries: readonly Entry[], flags: number = BlobFlag.USE_SHAREABLE): number {
    const size = entries.reduce((sum, { length }) => sum + length, 0)
    return this.gpu.createBlob(id, size, entries, BlobMem.GUEST, flags).type
  }

  /** A program of the guest allocates a picture in the heap, which is mapped nowhere yet. @returns what the GPU answers */
  createHeapBlob(id: number, { width, height }: PictureSize): number {
    if (!this.#opened) this.gpu.open(CONTEXT)
    this.#opened = true
    const { blobId, size } = this.gpu.require(CONTEXT, width, height)
    this.#pictureBytes = size[0]
    const flags = BlobFlag.USE_MAPPABLE | BlobFlag.USE_SHAREABLE
    return this.gpu.createHostBlob(CONTEXT, id, blobId, size[0], BlobMem.HOST3D, flags).type
  }

  /** And maps as many, one behind the other from the start of the window on, and draws. @returns how many bytes each has */
  fillHeap(resources: readonly number[], picture: PictureSize): number {
    for (const [i, id] of resources.entries()) {
      assert.equal(this.createHeapBlob(id, picture), GpuResponse.OK_NODATA)
      assert.equal(this.gpu.map(id, i * this.#pictureBytes).type, GpuResponse.OK_MAP_INFO)
    }
    randomFillSync(this.heap.window.u8, 0, resources.length * this.#pictureBytes)
    return this.#pictureBytes
  }

  /** Guest memory in pieces of so many pages, none beside the next, from the last to the first. */
  scatter(pages: number, piece = 1): Entry[] {
    const count = Math.ceil(pages / piece)
    const first = PICTURES + this.#pages * PAGE
    this.#pages += count * (piece + 1)
    return Array.from({ length: count }, (_, i) => ({
      address: first + (count - 1 - i) * (piece + 1) * PAGE,
      length: Math.min(piece, pages - i * piece) * PAGE,
    }))
  }

  /** The guest draws something that nobody else could. */
  draw(entries: readonly Entry[]): void {
    for (const { address, length } of entries) randomFillSync(this.memory.bytes, address, length)
  }

  /** What the guest sees. */
  contents(entries: readonly Entry[]): Buffer {
    return Buffer.concat(entries.map(({ address, length }) => this.memory.bytes.subarray(address, address + length)))
  }

  /** How many dma-bufs there are because of it, whoever has them. */
  get dmaBufs(): number {
    return allBuffers().count - this.#before
  }

  /** The only buffer there is. */
  get buffer(): GuestBuffer {
    const [buffer, other] = this.buffers.buffers
    if (!buffer || other) throw new Error(other ? 'there are several buffers' : 'there is no buffer')
    return buffer
  }

  /** Another driver imports a buffer. @returns what that driver gives out, which is none of ours */
  imported(buffer = this.buffer): DmaBuf {
    const { handles } = buffer
    if (handles.kind !== 'dma-buf') throw new Error(`${buffer.name}: ${buffer.reason}`)
    const handle = this.vgem.import(handles)
    const back = this.vgem.export(handle)
    this.#imports.set(back, handle)
    return back
  }

  /** The driver has it no longer, and nor does whoever it was given out to. */
  letGo(back: DmaBuf): void {
    this.vgem.forget(this.#imports.get(back) ?? 0)
    this.#imports.delete(back)
    back.close()
  }

  /** Nothing of it is left in the kernel, once importers have let go. */
  async close(): Promise<void> {
    await this.gpu.driver.reset()
    this.buffers.close()
    this.heap.close()
    this.vgem.close()
    this.memory.close()
    assert.equal(this.dmaBufs, 0)
  }
}
