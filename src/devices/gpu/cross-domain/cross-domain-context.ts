import { MemoryRegion } from '../../../memory/memory-region.ts'
import { SpanList } from '../../../memory/span-list.ts'
import { Reader } from '../../../virtqueue/reader.ts'
import { type GpuHeap, HEAP_PAGE } from '../heap.ts'
import { HostBlob } from '../host-blob.ts'
import { BlobMem, GpuResponse, MapCache } from '../protocol.ts'
import type { BlobRequest, RenderContext } from '../renderer.ts'
import type { Resource } from '../resource.ts'
import { type ImagePlanes, layOutImage } from './image-format.ts'
import {
  CHANNEL_NONE,
  CrossDomainCommand,
  HEADER,
  IMAGE_QUERY,
  IMAGE_REQUIREMENTS,
  INIT,
  INIT_LEGACY,
  MODIFIER_LINEAR,
  NO_INDEX,
} from './protocol.ts'

const { OK_NODATA, ERR_UNSPEC, ERR_OUT_OF_MEMORY, ERR_INVALID_RESOURCE_ID, ERR_INVALID_PARAMETER } = GpuResponse

/** Kinds of pictures a context may have asked about: programs ask once for each size and format they use. */
const MAX_IMAGES = 512

/** A kind of picture that was asked about; the guest may make any number of buffers for it. */
interface Image {
  readonly blobId: number
  readonly planes: ImagePlanes
  /** Whole pages. */
  readonly size: number
}

/**
 * A program's dealings with the heap: it asks what a picture needs, and makes blobs that are so.
 *
 *     INIT                      names a blob of guest memory, the query ring
 *     GET_IMAGE_REQUIREMENTS    width, height, format: strides, offsets, size and a blob id are written to the ring
 *     RESOURCE_CREATE_BLOB      with that size and id: a block of the heap
 */
export class CrossDomainContext implements RenderContext {
  readonly #heap: GpuHeap
  readonly #resources = new Map<number, Resource>()
  readonly #images = new Map<string, Image>()
  /** The same, by the id that buffers are made from. */
  readonly #byBlobId = new Map<number, Image>()
  /** Where answers go. */
  #ring: number | undefined

  constructor(heap: GpuHeap) {
    this.#heap = heap
  }

  attach(resource: Resource): void {
    this.#resources.set(resource.id, resource)
  }

  detach(resource: Resource): void {
    this.#resources.delete(resource.id)
  }

  /** Stops at the first command that fails. */
  submit(commands: Uint8Array): GpuResponse {
    if (commands.length % 4 !== 0) return ERR_INVALID_PARAMETER
    for (let at = 0; at < commands.length; ) {
      const header = HEADER.read(readerOf(commands.subarray(at)))
      const end = at + (header?.size ?? 0)
      if (!header || header.size < HEADER.size || end > commands.length || header.size % 4 !== 0) {
        return ERR_INVALID_PARAMETER
      }
      const response = this.#execute(header.command, commands.subarray(at + HEADER.size, end))
      if (response !== OK_NODATA) return response
      at = end
    }
    return OK_NODATA
  }

  createBlob(request: BlobRequest): HostBlob | GpuResponse {
    const image = this.#byBlobId.get(request.blobId)
    // The guest's pages could be brought up to date only by a renderer that has transfers.
    if (!image || request.blobMem !== BlobMem.HOST3D || request.size !== image.size) return ERR_INVALID_PARAMETER
    const block = this.#heap.create(image.size)
    return block ? new HostBlob(request, this.#heap, block) : ERR_OUT_OF_MEMORY
  }

  close(): void {
    this.#resources.clear()
    this.#images.clear()
    this.#byBlobId.clear()
  }

  #execute(command: number, body: Uint8Array): GpuResponse {
    switch (command) {
      case CrossDomainCommand.INIT:
        return this.#init(body)
      case CrossDomainCommand.GET_IMAGE_REQUIREMENTS:
        return this.#tellRequirements(body)
      default:
        // All others are about channels, of which there are none.
        return ERR_UNSPEC
    }
  }

  #init(body: Uint8Array): GpuResponse {
    const reader = readerOf(body)
    const request = body.length < INIT.size ? INIT_LEGACY.read(reader) : INIT.read(reader)
    if (request?.channelType !== CHANNEL_NONE) return ERR_INVALID_PARAMETER
    const ring = this.#resources.get(request.queryRing)
    if (!ring) return ERR_INVALID_RESOURCE_ID
    if (!ring.backing || ring.backing.byteLength < IMAGE_REQUIREMENTS.size) return ERR_INVALID_PARAMETER
    this.#ring = request.queryRing
    return OK_NODATA
  }

  #tellRequirements(body: Uint8Array): GpuResponse {
    const query = IMAGE_QUERY.read(readerOf(body))
    if (!query) return ERR_INVALID_PARAMETER
    const image = this.#imageFor(query)
    // Programs do not see the response, only the ring: there, a size of 0 keeps them from taking an older answer for theirs.
    const told = this.#write(typeof image === 'number' ? NO_IMAGE : image)
    return typeof image === 'number' ? image : told
  }

  /** What a picture needs: the same for the same picture. */
  #imageFor({ width, height, fourcc }: ReturnType<typeof IMAGE_QUERY.take>): Image | GpuResponse {
    const key = `${width} ${height} ${fourcc}`
    const known = this.#images.get(key)
    if (known) return known
    const planes = width > 0 && height > 0 ? layOutImage(width, height, fourcc) : undefined
    if (!planes) return ERR_INVALID_PARAMETER
    if (planes.size > this.#heap.quota || this.#images.size >= MAX_IMAGES) return ERR_OUT_OF_MEMORY
    const blobId = this.#images.size + 1
    const image = { blobId, planes, size: Math.ceil(planes.size / HEAP_PAGE) * HEAP_PAGE }
    this.#images.set(key, image)
    this.#byBlobId.set(blobId, image)
    return image
  }

  #write({ blobId, planes: { strides, offsets }, size }: Image): GpuResponse {
    // The ring's pages may have gone, or the ring itself.
    const backing = this.#resources.get(this.#ring ?? 0)?.backing
    if (!backing || backing.byteLength < IMAGE_REQUIREMENTS.size) return ERR_INVALID_RESOURCE_ID
    const answer = IMAGE_REQUIREMENTS.encode({
      strides,
      offsets,
      modifier: MODIFIER_LINEAR,
      size,
      blobId,
      mapInfo: MapCache.CACHED,
      memoryIndex: NO_INDEX,
      physicalDeviceIndex: NO_INDEX,
    })
    backing.write(0, answer)
    return OK_NODATA
  }
}

/** Requirements of what cannot be had. */
const NO_IMAGE: Image = { blobId: 0, planes: { strides: [], offsets: [], size: 0 }, size: 0 }

/** A reader over bytes, a multiple of 4 of them and at such an offset. */
function readerOf(bytes: Uint8Array): Reader {
  const spans = new SpanList(1)
  if (bytes.length > 0) spans.add(MemoryRegion.over(0, bytes), 0, bytes.length)
  const reader = new Reader(spans)
  reader.rewind(spans.count, bytes.length)
  return reader
}
