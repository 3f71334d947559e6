import type { GuestMemory } from '../../../memory/guest-memory.ts'
import type { RandomSource } from '../../../services/random-source.ts'
import { fits, type MutableRect, type Rect } from '../../../services/rect.ts'
import { SnapshotError } from '../../../snapshot/snapshot-error.ts'
import type { DriverSession } from '../../../virtio/device.ts'
import { hasFeature } from '../../../virtio/feature.ts'
import type { Reader } from '../../../virtqueue/reader.ts'
import { ContextCommands } from './contexts/context-commands.ts'
import type { ContextHost, Renderer } from './contexts/renderer.ts'
import { loadCursor } from './cursor.ts'
import { createEdid } from './edid/edid.ts'
import { BYTES_PER_PIXEL, pixelFormat } from './pixels/pixel-format.ts'
import { blobLayout, layoutEnd, type PixelLayout, packedLayout } from './pixels/pixel-layout.ts'
import {
  CURSOR_SIZE,
  FLUSH_SIZE,
  GET_EDID,
  GpuCommand,
  GpuFeature,
  GpuResponse,
  RESOURCE_ASSIGN_UUID,
  RESOURCE_ATTACH_BACKING,
  RESOURCE_CREATE_2D,
  RESOURCE_DETACH_BACKING,
  RESOURCE_UNREF,
  RESP_DISPLAY_INFO,
  RESP_EDID,
  SET_SCANOUT,
  SET_SCANOUT_BLOB,
  TRANSFER_SIZE,
  takeRect,
} from './protocol.ts'
import { takeBacking } from './resources/backing.ts'
import { BlobCommands } from './resources/blob-commands.ts'
import { Blob, GuestBlob, type Resource, Resource2d } from './resources/resource.ts'
import type { ResourceSharing } from './resources/resource-sharing.ts'
import { ResourceTable } from './resources/resource-table.ts'
import { restoreResource, type SavedResource } from './resources/saved-resource.ts'
import { transferToHost } from './resources/transfer.ts'
import { surfaceLayout } from './saved-surface.ts'
import { MAX_SIDE, type SavedScanout, type Scanout } from './scanout.ts'
import { createUuid } from './uuid.ts'

const { OK_NODATA, ERR_UNSPEC, ERR_OUT_OF_MEMORY } = GpuResponse
const { ERR_INVALID_SCANOUT_ID, ERR_INVALID_RESOURCE_ID, ERR_INVALID_PARAMETER } = GpuResponse

/** Parts of the device that a processor uses. */
export interface ProcessorHost {
  readonly scanouts: readonly Scanout[]
  readonly renderers: readonly Renderer[]
  readonly sharing: ResourceSharing
  /** Alignment of host blobs in bytes. */
  readonly blobAlignment: number
  /** Feature bit of CREATE_GUEST_HANDLE; undefined if it is not offered. */
  readonly guestHandleFeature: number | undefined
  /** Source of the UUIDs of resources. */
  readonly random: RandomSource
  /** Limit in bytes of host memory that the driver's resources and contexts use. */
  readonly maxHostBytes: number
}

/**
 * Executes the commands of one driver, from DRIVER_OK to reset.
 *
 *     const response = processor.control(GpuCommand.SET_SCANOUT, reader, 0)   // OK_NODATA, or the error to answer
 *     const payload = processor.takePayload()                                 // bytes after the header, if any
 *
 * Each command is complete when its call returns. A command that fails changes nothing.
 *
 * @virtio 5.7.6.8, 5.7.6.9, 5.7.6.10
 */
export class CommandProcessor {
  readonly resources: ResourceTable
  readonly contexts: ContextCommands
  readonly #blobs: BlobCommands
  readonly #memory: GuestMemory
  readonly #scanouts: readonly Scanout[]
  readonly #sharing: ResourceSharing
  readonly #random: RandomSource
  /** Negotiated features that commands depend on. */
  readonly #has: {
    readonly edid: boolean
    readonly uuids: boolean
    readonly blobs: boolean
    readonly contexts: boolean
  }
  readonly #removeMemoryListener: () => void
  #payload: Uint8Array | undefined
  /** Rectangle of the current request. */
  readonly #rect: MutableRect = { x: 0, y: 0, width: 0, height: 0 }

  constructor(session: DriverSession, host: ProcessorHost) {
    const { memory, features } = session
    const { scanouts, renderers, sharing, blobAlignment, guestHandleFeature, random, maxHostBytes } = host
    this.#memory = memory
    this.#scanouts = scanouts
    this.#sharing = sharing
    this.#random = random
    this.#has = {
      edid: hasFeature(features, GpuFeature.EDID),
      uuids: hasFeature(features, GpuFeature.RESOURCE_UUID),
      blobs: hasFeature(features, GpuFeature.RESOURCE_BLOB),
      contexts: hasFeature(features, GpuFeature.VIRGL),
    }
    const answer = (payload: Uint8Array): void => {
      this.#payload = payload
    }
    const typed = hasFeature(features, GpuFeature.CONTEXT_INIT)
    this.resources = new ResourceTable(maxHostBytes)
    const contextHost: ContextHost = {
      share: (blob) => sharing.share(blob),
      present: (resource, rect) => this.#present(resource, rect),
    }
    this.contexts = new ContextCommands(renderers, contextHost, this.resources, typed, answer)
    const contexts = this.#has.contexts ? this.contexts : undefined
    const guestHandles = guestHandleFeature !== undefined && hasFeature(features, guestHandleFeature)
    const blobOptions = { sharing, guestHandles, alignment: blobAlignment }
    this.#blobs = new BlobCommands(memory, this.resources, contexts, answer, blobOptions)
    this.#removeMemoryListener = memory.onChange(() => {
      try {
        this.#memoryChanged()
      } catch (error) {
        // The exception of a display fails this device; the memory map must change all the same.
        session.needsReset(`change of the memory map failed: ${error instanceof Error ? error.message : String(error)}`)
      }
    })
  }

  /** Returns the bytes after the header of the last command's response, once. */
  takePayload(): Uint8Array | undefined {
    const payload = this.#payload
    this.#payload = undefined
    return payload
  }

  /**
   * Executes a command of the control queue.
   * @param reader at the first byte after the header
   * @param context ctx_id of the header
   */
  control(type: number, reader: Reader, context: number): GpuResponse {
    switch (type) {
      case GpuCommand.TRANSFER_TO_HOST_2D:
        return this.#transferToHost(reader)
      case GpuCommand.RESOURCE_FLUSH:
        return this.#flush(reader)
      case GpuCommand.GET_DISPLAY_INFO:
        return this.#getDisplayInfo()
      case GpuCommand.GET_EDID:
        return this.#has.edid ? this.#getEdid(reader) : ERR_UNSPEC
      case GpuCommand.RESOURCE_CREATE_2D:
        return this.#create2d(reader)
      case GpuCommand.RESOURCE_CREATE_BLOB:
        return this.#has.blobs ? this.#blobs.create(reader, context) : ERR_UNSPEC
      case GpuCommand.RESOURCE_UNREF:
        return this.#unref(reader)
      case GpuCommand.RESOURCE_ATTACH_BACKING:
        return this.#attachBacking(reader)
      case GpuCommand.RESOURCE_DETACH_BACKING:
        return this.#detachBacking(reader)
      case GpuCommand.SET_SCANOUT:
        return this.#setScanout(reader)
      case GpuCommand.SET_SCANOUT_BLOB:
        return this.#has.blobs ? this.#setScanoutBlob(reader) : ERR_UNSPEC
      case GpuCommand.RESOURCE_ASSIGN_UUID:
        return this.#has.uuids ? this.#assignUuid(reader) : ERR_UNSPEC
      case GpuCommand.RESOURCE_MAP_BLOB:
        return this.#has.blobs && this.#has.contexts ? this.#blobs.map(reader) : ERR_UNSPEC
      case GpuCommand.RESOURCE_UNMAP_BLOB:
        return this.#has.blobs && this.#has.contexts ? this.#blobs.unmap(reader) : ERR_UNSPEC
      case GpuCommand.TRANSFER_TO_HOST_3D:
        return this.#has.blobs && this.#has.contexts ? this.#blobs.transfer(reader, 'to host') : ERR_UNSPEC
      case GpuCommand.TRANSFER_FROM_HOST_3D:
        return this.#has.blobs && this.#has.contexts ? this.#blobs.transfer(reader, 'from host') : ERR_UNSPEC
      case GpuCommand.GET_CAPSET_INFO:
        return this.contexts.getCapsetInfo(reader)
      case GpuCommand.GET_CAPSET:
        return this.contexts.getCapset(reader)
      default:
        return this.#has.contexts ? this.contexts.control(type, reader, context) : ERR_UNSPEC
    }
  }

  /** Executes a command of the cursor queue. @virtio 5.7.6.10 */
  cursor(type: number, reader: Reader): GpuResponse {
    if (type !== GpuCommand.UPDATE_CURSOR && type !== GpuCommand.MOVE_CURSOR) return ERR_UNSPEC
    if (reader.remaining < CURSOR_SIZE) return ERR_INVALID_PARAMETER
    const scanout = this.#scanouts[reader.u32()]
    if (!scanout) return ERR_INVALID_SCANOUT_ID
    // Linux writes signed coordinates.
    const x = reader.u32() | 0
    const y = reader.u32() | 0
    if (type === GpuCommand.UPDATE_CURSOR) {
      reader.skip(4)
      const response = this.#updateCursor(scanout, reader.u32(), reader.u32(), reader.u32())
      if (response !== OK_NODATA) return response
    }
    scanout.moveCursor(x, y)
    return OK_NODATA
  }

  /**
   * Creates the resources of a saved state, and shows those that were shown.
   * @throws {SnapshotError} if they do not fit this host or its guest memory
   */
  restore(resources: readonly SavedResource[], scanouts: readonly SavedScanout[]): void {
    for (const saved of resources) {
      const resource = restoreResource(saved, this.#memory, (length, id) => this.#sharing.allocate(length, id))
      const added = this.resources.add(resource)
      if (added !== OK_NODATA) {
        resource.release()
        throw new SnapshotError(`resource ${saved.id} was refused with error 0x${added.toString(16)}`)
      }
      if (saved.uuid) resource.exported.assignUuid(saved.uuid)
      if (resource instanceof Blob && resource.attached && !this.#sharing.update(resource)) {
        throw new SnapshotError(`resource ${saved.id} cannot be exported: ${resource.exported.refusal?.reason}`)
      }
    }
    for (const [i, { surface }] of scanouts.entries()) {
      const scanout = this.#scanouts[i]
      scanout.restoreCursor(scanouts[i])
      const resource = surface ? this.resources.get(surface.resource) : undefined
      if (!surface || !resource) continue
      const shown = this.#show(scanout, resource, surfaceLayout(surface, resource), surface.rect)
      if (shown !== OK_NODATA) throw new SnapshotError(`scanout ${i} was refused with error 0x${shown.toString(16)}`)
    }
  }

  /** Removes all scanouts' surfaces, contexts and resources of the driver. */
  release(): void {
    this.#removeMemoryListener()
    for (const scanout of this.#scanouts) scanout.reset()
    this.contexts.release()
    this.resources.clear()
  }

  /**
   * Exports guest blobs again whose pages moved in the memory map, and detaches the pages if a required export fails.
   * Blobs whose pages left the memory map are no longer exported, and read as black.
   */
  #memoryChanged(): void {
    for (const resource of this.resources.all) {
      if (!resource.memoryChanged() || !(resource instanceof GuestBlob)) continue
      if (!this.#sharing.update(resource)) this.resources.detach(resource)
    }
  }

  #getDisplayInfo(): GpuResponse {
    let x = 0
    // Scanouts are placed side by side, in their order. @virtio 5.7.6.8
    const modes = this.#scanouts.map(({ connected, preferred: { width, height } }) => {
      if (!connected) return NO_MODE
      const rect = { x, y: 0, width, height }
      x += width
      return { rect, enabled: 1, flags: 0 }
    })
    this.#payload = RESP_DISPLAY_INFO.encode({ modes })
    return GpuResponse.OK_DISPLAY_INFO
  }

  #getEdid(reader: Reader): GpuResponse {
    const request = GET_EDID.read(reader)
    if (!request) return ERR_INVALID_PARAMETER
    const scanout = this.#scanouts[request.scanoutId]
    if (!scanout) return ERR_INVALID_SCANOUT_ID
    const edid = scanout.edid ?? createEdid({ ...scanout.preferred, serial: scanout.index + 1 })
    this.#payload = RESP_EDID.encode({ size: edid.length, edid })
    return GpuResponse.OK_EDID
  }

  #create2d(reader: Reader): GpuResponse {
    const request = RESOURCE_CREATE_2D.read(reader)
    const format = request && pixelFormat(request.format)
    if (!format || request.width === 0 || request.height === 0) return ERR_INVALID_PARAMETER
    const layout = packedLayout(request.width, request.height, format)
    const admitted = this.resources.admits(request.resourceId, Resource2d.cost(layout))
    if (admitted !== OK_NODATA) return admitted
    const memory = this.#sharing.allocate(layoutEnd(layout), request.resourceId)
    try {
      return this.resources.add(new Resource2d(request.resourceId, layout, memory))
    } catch {
      // The host has less memory than `maxHostBytes` allows. Nothing else throws here.
      if (memory && 'kind' in memory) memory.close()
      return ERR_OUT_OF_MEMORY
    }
  }

  #unref(reader: Reader): GpuResponse {
    const request = RESOURCE_UNREF.read(reader)
    if (!request) return ERR_INVALID_PARAMETER
    const resource = this.resources.get(request.resourceId)
    if (!resource) return ERR_INVALID_RESOURCE_ID
    for (const scanout of this.#scanouts) if (scanout.shows(resource)) scanout.disable()
    this.contexts.detachFromAll(resource)
    this.resources.remove(resource)
    return OK_NODATA
  }

  /**
   * A resource keeps its UUID. Other devices use it to import the resource, so the command fails if it cannot be
   * exported.
   */
  #assignUuid(reader: Reader): GpuResponse {
    const request = RESOURCE_ASSIGN_UUID.read(reader)
    if (!request) return ERR_INVALID_PARAMETER
    const resource = this.resources.get(request.resourceId)
    if (!resource) return ERR_INVALID_RESOURCE_ID
    if (resource instanceof Blob) this.#sharing.share(resource)
    if (resource.exported.refusal) return ERR_UNSPEC
    const uuid = resource.exported.uuid ?? createUuid(this.#random)
    resource.exported.assignUuid(uuid)
    this.#payload = uuid
    return GpuResponse.OK_RESOURCE_UUID
  }

  #attachBacking(reader: Reader): GpuResponse {
    const request = RESOURCE_ATTACH_BACKING.read(reader)
    if (!request) return ERR_INVALID_PARAMETER
    const resource = this.resources.get(request.resourceId)
    if (!resource) return ERR_INVALID_RESOURCE_ID
    if (resource.attached) return ERR_UNSPEC
    const backing = takeBacking(reader, request.entryCount, this.#memory)
    if (typeof backing === 'number') return backing
    const attached = resource.accepts(backing) ? this.resources.attach(resource, backing) : ERR_INVALID_PARAMETER
    if (attached !== OK_NODATA || !(resource instanceof Blob) || this.#sharing.update(resource)) return attached
    this.resources.detach(resource)
    return ERR_UNSPEC
  }

  /**
   * A blob on a scanout stays there, and reads as black until it has pages again: guests swap the pages of such blobs.
   */
  #detachBacking(reader: Reader): GpuResponse {
    const request = RESOURCE_DETACH_BACKING.read(reader)
    if (!request) return ERR_INVALID_PARAMETER
    const resource = this.resources.get(request.resourceId)
    if (!resource) return ERR_INVALID_RESOURCE_ID
    if (!resource.attached) return ERR_UNSPEC
    this.resources.detach(resource)
    return OK_NODATA
  }

  #setScanout(reader: Reader): GpuResponse {
    const request = SET_SCANOUT.read(reader)
    if (!request) return ERR_INVALID_PARAMETER
    const scanout = this.#scanouts[request.scanoutId]
    if (!scanout) return ERR_INVALID_SCANOUT_ID
    if (request.resourceId === 0) {
      scanout.disable()
      return OK_NODATA
    }
    const resource = this.resources.get(request.resourceId)
    // Blobs have no format and no width: SET_SCANOUT_BLOB shows them.
    if (!(resource instanceof Resource2d)) return ERR_INVALID_RESOURCE_ID
    return this.#show(scanout, resource, resource.layout, request.rect)
  }

  #setScanoutBlob(reader: Reader): GpuResponse {
    const request = SET_SCANOUT_BLOB.read(reader)
    if (!request) return ERR_INVALID_PARAMETER
    const scanout = this.#scanouts[request.scanoutId]
    if (!scanout) return ERR_INVALID_SCANOUT_ID
    if (request.resourceId === 0) {
      scanout.disable()
      return OK_NODATA
    }
    const resource = this.resources.get(request.resourceId)
    if (!(resource instanceof Blob)) return ERR_INVALID_RESOURCE_ID
    if (!resource.hasBytes) return ERR_UNSPEC
    const layout = blobLayout(request, resource.size, resource.exported.layout)
    return layout ? this.#show(scanout, resource, layout, request.rect) : ERR_INVALID_PARAMETER
  }

  /** Limits the size of the surface, because a display may keep a copy of it. */
  #show(scanout: Scanout, resource: Resource, layout: PixelLayout, rect: Rect): GpuResponse {
    if (!fits(rect, layout.width, layout.height)) return ERR_INVALID_PARAMETER
    if (rect.width > MAX_SIDE || rect.height > MAX_SIDE) return ERR_INVALID_PARAMETER
    if (rect.width * rect.height * BYTES_PER_PIXEL > this.resources.maxHostBytes) return ERR_OUT_OF_MEMORY
    // A blob that cannot be exported is shown all the same.
    if (resource instanceof Blob) this.#sharing.share(resource)
    scanout.show(resource, layout, rect)
    return OK_NODATA
  }

  #flush(reader: Reader): GpuResponse {
    if (reader.remaining < FLUSH_SIZE) return ERR_INVALID_PARAMETER
    const rect = this.#rect
    takeRect(reader, rect)
    const resource = this.resources.get(reader.u32())
    if (!resource) return ERR_INVALID_RESOURCE_ID
    // A blob has a size in pixels only on a scanout, and may have another one on each. `Scanout.flush` clips the
    // rectangle.
    const bounds = resource instanceof Resource2d ? resource.layout : UNBOUNDED
    if (!fits(rect, bounds.width, bounds.height)) return ERR_INVALID_PARAMETER
    this.#present(resource, rect)
    return OK_NODATA
  }

  /**
   * Reports damage to the scanouts that show the resource, or else to the consumers of its buffer.
   * @returns true if there are any
   */
  #present(resource: Resource, rect: Rect): boolean {
    const transferred = resource.flush()
    let shown = false
    for (const scanout of this.#scanouts) {
      if (!scanout.shows(resource)) continue
      scanout.flush(rect, transferred)
      shown = true
    }
    if (!shown) resource.buffer?.present({ ...rect })
    return shown || resource.buffer !== undefined
  }

  #transferToHost(reader: Reader): GpuResponse {
    if (reader.remaining < TRANSFER_SIZE) return ERR_INVALID_PARAMETER
    const rect = this.#rect
    takeRect(reader, rect)
    const offset = reader.u64()
    const resource = this.resources.get(reader.u32())
    if (!resource) return ERR_INVALID_RESOURCE_ID
    // Displays read a guest blob's own pages, so there is no copy to update.
    return resource instanceof Resource2d ? transferToHost(resource, rect, offset) : OK_NODATA
  }

  #updateCursor(scanout: Scanout, resourceId: number, hotX: number, hotY: number): GpuResponse {
    if (resourceId === 0) {
      scanout.showCursor(undefined)
      return OK_NODATA
    }
    const resource = this.resources.get(resourceId)
    if (!resource) return ERR_INVALID_RESOURCE_ID
    const cursor = loadCursor(resource, hotX, hotY)
    if (!cursor) return ERR_INVALID_PARAMETER
    scanout.showCursor(cursor)
    return OK_NODATA
  }
}

/** Mode of a scanout without a viewer. */
const NO_MODE = { rect: { x: 0, y: 0, width: 0, height: 0 }, enabled: 0, flags: 0 }

/** Largest size that 32-bit coordinates can address. */
const UNBOUNDED = { width: 0xffff_ffff, height: 0xffff_ffff }
