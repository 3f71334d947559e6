import type { GuestMemory } from '../../../../memory/guest-memory.ts'
import type { ScatterList } from '../../../../memory/scatter-list.ts'
import type { Reader } from '../../../../virtqueue/reader.ts'
import type { ContextCommands } from '../contexts/context-commands.ts'
import {
  BlobFlag,
  BlobMem,
  GpuResponse,
  RESOURCE_CREATE_BLOB,
  RESOURCE_MAP_BLOB,
  RESOURCE_UNMAP_BLOB,
  RESP_MAP_INFO,
  TRANSFER_3D,
} from '../protocol.ts'
import { takeBacking } from './backing.ts'
import { type TransferDirection, transferBlob } from './blob-transfer.ts'
import { HostBlob } from './host-blob.ts'
import { type Blob, GuestBlob } from './resource.ts'
import type { ResourceSharing } from './resource-sharing.ts'
import type { ResourceTable } from './resource-table.ts'

const { OK_NODATA, ERR_UNSPEC, ERR_OUT_OF_MEMORY, ERR_INVALID_RESOURCE_ID, ERR_INVALID_PARAMETER } = GpuResponse

const BLOB_FLAGS = BlobFlag.USE_MAPPABLE | BlobFlag.USE_SHAREABLE | BlobFlag.USE_CROSS_DEVICE

export interface BlobOptions {
  readonly sharing: ResourceSharing
  /** True if CREATE_GUEST_HANDLE was negotiated. */
  readonly guestHandles: boolean
  /** Alignment of sizes of host blobs in bytes. */
  readonly alignment: number
}

/**
 * Commands that create blobs, map host blobs, and transfer between host blobs and guest pages. @virtio 5.7.6.8, 5.7.6.9
 */
export class BlobCommands {
  readonly #memory: GuestMemory
  readonly #resources: ResourceTable
  /** Undefined without VIRGL: then there are no host blobs. */
  readonly #contexts: ContextCommands | undefined
  readonly #answer: (payload: Uint8Array) => void
  readonly #options: BlobOptions

  /** @param answer receives the bytes after the header of a response */
  constructor(
    memory: GuestMemory,
    resources: ResourceTable,
    contexts: ContextCommands | undefined,
    answer: (payload: Uint8Array) => void,
    options: BlobOptions,
  ) {
    this.#memory = memory
    this.#resources = resources
    this.#contexts = contexts
    this.#answer = answer
    this.#options = options
  }

  /** @param context ctx_id of the header: its renderer allocates host blobs */
  create(reader: Reader, context: number): GpuResponse {
    const request = RESOURCE_CREATE_BLOB.read(reader)
    if (!request) return ERR_INVALID_PARAMETER
    const { resourceId, blobMem, blobFlags, entryCount, size } = request
    if (!this.#areValidFlags(blobFlags, blobMem) || size === 0 || !Number.isSafeInteger(size))
      return ERR_INVALID_PARAMETER
    // HOST3D is the one kind of blob without guest pages.
    if (blobMem === BlobMem.HOST3D && entryCount > 0) return ERR_INVALID_PARAMETER
    const backing = entryCount > 0 ? takeBacking(reader, entryCount, this.#memory) : undefined
    if (typeof backing === 'number') return backing
    const admitted = this.#resources.admits(resourceId, 0)
    if (admitted !== OK_NODATA) return admitted
    const blob = this.#createBlob(context, request)
    if (typeof blob === 'number') return blob
    const added = this.#add(blob, backing)
    if (added !== OK_NODATA) {
      blob.release()
      return added
    }
    if (this.#options.sharing.update(blob)) return OK_NODATA
    this.#resources.remove(blob)
    return ERR_UNSPEC
  }

  map(reader: Reader): GpuResponse {
    const request = RESOURCE_MAP_BLOB.read(reader)
    if (!request) return ERR_INVALID_PARAMETER
    const blob = this.#resources.get(request.resourceId)
    if (!(blob instanceof HostBlob)) return ERR_INVALID_RESOURCE_ID
    const mapped = blob.mappable ? blob.map(request.offset) : ERR_INVALID_PARAMETER
    if (mapped !== OK_NODATA) return mapped
    if (!this.#options.sharing.update(blob)) {
      blob.unmap()
      return ERR_UNSPEC
    }
    this.#answer(RESP_MAP_INFO.encode({ mapInfo: blob.mapInfo }))
    return GpuResponse.OK_MAP_INFO
  }

  unmap(reader: Reader): GpuResponse {
    const request = RESOURCE_UNMAP_BLOB.read(reader)
    if (!request) return ERR_INVALID_PARAMETER
    const blob = this.#resources.get(request.resourceId)
    return blob instanceof HostBlob ? blob.unmap() : ERR_INVALID_RESOURCE_ID
  }

  /** Copies between a host blob and its guest pages. */
  transfer(reader: Reader, direction: TransferDirection): GpuResponse {
    const request = TRANSFER_3D.read(reader)
    if (!request) return ERR_INVALID_PARAMETER
    const resource = this.#resources.get(request.resourceId)
    // Displays read a guest blob's own pages, so there is nothing to copy.
    if (resource instanceof GuestBlob) return OK_NODATA
    return resource instanceof HostBlob ? transferBlob(resource, request, direction) : ERR_INVALID_RESOURCE_ID
  }

  #add(blob: Blob, backing: ScatterList | undefined): GpuResponse {
    if (backing && !blob.accepts(backing)) return ERR_INVALID_PARAMETER
    // A blob that the guest does not map needs memory now.
    if (blob instanceof HostBlob && !blob.mappable && !blob.ensurePlace()) return ERR_OUT_OF_MEMORY
    if (backing) blob.attach(backing)
    return this.#resources.add(blob)
  }

  /** True if the flags are valid. CREATE_GUEST_HANDLE is valid for BLOB_MEM_GUEST only. */
  #areValidFlags(flags: number, blobMem: number): boolean {
    const handles = this.#options.guestHandles && blobMem === BlobMem.GUEST ? BlobFlag.CREATE_GUEST_HANDLE : 0
    return (flags & ~(BLOB_FLAGS | handles)) === 0
  }

  #createBlob(context: number, request: ReturnType<typeof RESOURCE_CREATE_BLOB.decode>): Blob | GpuResponse {
    const { blobMem, blobFlags, resourceId, size } = request
    if (blobMem === BlobMem.GUEST) return new GuestBlob(resourceId, size, blobFlags)
    if (blobMem !== BlobMem.HOST3D && blobMem !== BlobMem.HOST3D_GUEST) return ERR_INVALID_PARAMETER
    if (!this.#contexts || size % this.#options.alignment !== 0) return ERR_INVALID_PARAMETER
    return this.#contexts.createBlob(context, request)
  }
}
