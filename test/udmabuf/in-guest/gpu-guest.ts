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

/** Address of the pages of blobs in guest memory; the driver's queues lie below. */
const BLOBS_ADDRESS = 16 << 20
const MEMORY_BYTES = 768 << 20
const HEAP_BYTES = 16 << 20
/** Context of the guest's program. */
const CONTEXT = 7

interface SurfaceSize {
  readonly width: number
  readonly height: number
}

export interface GpuGuestOptions extends Omit<GpuOptions, 'heap'> {
  readonly heap?: HeapFiles
  readonly display?: (buffers: GuestBuffers) => Display
}

/**
 * A guest whose GPU exports its buffers: guest memory is a file, as with QEMU, and so is the heap.
 *
 *     const guest = new GpuGuest()
 *     const entries = guest.scatter(8)
 *     guest.createBlob(1, entries)
 *     guest.imported().bytes                      // read through another driver
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
  /** Pages that `scatter` returned so far. */
  #pages = 0
  /** True if the context exists. */
  #opened = false
  /** Bytes of the image that was queried last. */
  #imageBytes = 0

  /** @param display creates a further display of the GPU */
  constructor({ heap, display, ...options }: GpuGuestOptions = {}) {
    this.heap = heap ?? HeapFiles.create(HEAP_BYTES)
    const [memory] = this.memory.regions(0)
    const gpu = { sharing: this.buffers, heap: new GpuHeap(this.heap), ...options }
    this.gpu = new ContextRig(gpu, { memory }, display ? [display(this.buffers)] : [])
  }

  /** Creates a guest blob, by default shareable. @returns the response type */
  createBlob(id: number, entries: readonly Entry[], flags: number = BlobFlag.USE_SHAREABLE): number {
    const size = entries.reduce((sum, { length }) => sum + length, 0)
    return this.gpu.createBlob(id, size, entries, BlobMem.GUEST, flags).type
  }

  /** Creates a mappable host blob for an image, without mapping it. @returns the response type */
  createHeapBlob(id: number, { width, height }: SurfaceSize): number {
    if (!this.#opened) this.gpu.open(CONTEXT)
    this.#opened = true
    const { blobId, size } = this.gpu.require(CONTEXT, width, height)
    this.#imageBytes = size[0]
    const flags = BlobFlag.USE_MAPPABLE | BlobFlag.USE_SHAREABLE
    return this.gpu.createHostBlob(CONTEXT, id, blobId, size[0], BlobMem.HOST3D, flags).type
  }

  /**
   * Creates and maps host blobs side by side from the start of the window, and fills them.
   * @returns the bytes of each
   */
  fillHeap(resources: readonly number[], size: SurfaceSize): number {
    for (const [i, id] of resources.entries()) {
      assert.equal(this.createHeapBlob(id, size), GpuResponse.OK_NODATA)
      assert.equal(this.gpu.map(id, i * this.#imageBytes).type, GpuResponse.OK_MAP_INFO)
    }
    randomFillSync(this.heap.window.u8, 0, resources.length * this.#imageBytes)
    return this.#imageBytes
  }

  /** Allocates guest memory in pieces of `piece` pages, not adjacent, in descending order. */
  scatter(pages: number, piece = 1): Entry[] {
    const count = Math.ceil(pages / piece)
    const first = BLOBS_ADDRESS + this.#pages * PAGE
    this.#pages += count * (piece + 1)
    return Array.from({ length: count }, (_, i) => ({
      address: first + (count - 1 - i) * (piece + 1) * PAGE,
      length: Math.min(piece, pages - i * piece) * PAGE,
    }))
  }

  /** Fills guest memory with random bytes. */
  draw(entries: readonly Entry[]): void {
    for (const { address, length } of entries) randomFillSync(this.memory.bytes, address, length)
  }

  /** Copies the contents of guest memory. */
  contents(entries: readonly Entry[]): Buffer {
    return Buffer.concat(entries.map(({ address, length }) => this.memory.bytes.subarray(address, address + length)))
  }

  /** Number of dma-bufs in the kernel that were created since the guest was. */
  get dmaBufs(): number {
    return allBuffers().count - this.#before
  }

  /** The only exported buffer. */
  get buffer(): GuestBuffer {
    const [buffer, other] = this.buffers.buffers
    if (!buffer || other) throw new Error(other ? 'there are several buffers' : 'there is no buffer')
    return buffer
  }

  /** Imports a buffer into vgem, and exports it from there. @returns the buffer that vgem exports */
  imported(buffer = this.buffer): DmaBuf {
    const { handles } = buffer
    if (handles.kind !== 'dma-buf') throw new Error(`${buffer.name}: ${buffer.reason}`)
    const handle = this.vgem.import(handles)
    const back = this.vgem.export(handle)
    this.#imports.set(back, handle)
    return back
  }

  /** Closes a buffer that `imported` returned, and its handle in vgem. */
  closeImport(back: DmaBuf): void {
    this.vgem.closeHandle(this.#imports.get(back) ?? 0)
    this.#imports.delete(back)
    back.close()
  }

  /** Closes everything, and checks that no dma-buf is left. Close imported buffers with `closeImport` first. */
  async close(): Promise<void> {
    await this.gpu.driver.reset()
    this.buffers.close()
    this.heap.close()
    this.vgem.close()
    this.memory.close()
    assert.equal(this.dmaBufs, 0)
  }
}
