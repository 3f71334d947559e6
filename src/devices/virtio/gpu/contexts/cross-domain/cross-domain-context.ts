import { MemoryRegion } from '../../../../../memory/memory-region.ts'
import { SpanList } from '../../../../../memory/span-list.ts'
import type { FramebufferLayout } from '../../../../../services/framebuffer-layout.ts'
import { fits, type MutableRect } from '../../../../../services/rect.ts'
import type { BufferKind } from '../../../../../services/shared-buffer.ts'
import { Reader } from '../../../../../virtqueue/reader.ts'
import { liesWithin, MODIFIER_LINEAR } from '../../pixels/image-planes.ts'
import { GpuResponse, MapCache } from '../../protocol.ts'
import type { GpuHeap } from '../../resources/heap.ts'
import type { BlobRequest } from '../../resources/host-blob.ts'
import { HostBlob } from '../../resources/host-blob.ts'
import { Blob, type Resource } from '../../resources/resource.ts'
import type { ContextHost, RenderContext } from '../renderer.ts'
import { layOutImage } from './image-requirements.ts'
import {
  CHANNEL_NONE,
  CrossDomainCommand,
  DescribedKind,
  HEADER_COMMAND,
  HEADER_COMMAND_SIZE,
  HEADER_SIZE,
  IMAGE_DESCRIBED,
  IMAGE_DESCRIPTION,
  IMAGE_QUERY,
  IMAGE_REQUIREMENTS,
  INIT,
  INIT_LEGACY,
  NO_INDEX,
  PRESENT_RECT,
  PRESENT_RESOURCE,
  PRESENT_SIZE,
  PrivateCommand,
} from './protocol.ts'

const { OK_NODATA, ERR_UNSPEC, ERR_OUT_OF_MEMORY, ERR_INVALID_RESOURCE_ID, ERR_INVALID_PARAMETER } = GpuResponse

/** Limit of different images that a context may query: programs query each size and format once. */
const MAX_IMAGES = 512

/**
 * Limit of one submission in bytes: programs send one command at a time, and a submission delays all other requests.
 */
const MAX_COMMAND_BYTES = 64 << 10

/** An image that was queried. The guest may create any number of buffers for it. */
interface Image {
  readonly blobId: number
  readonly layout: FramebufferLayout
  /** Size of a buffer in bytes: whole pages. */
  readonly size: number
}

/**
 * Cross-domain context: a program queries the requirements of an image, and creates blobs of the heap that meet them.
 *
 *     INIT                      names a blob of guest memory, the query ring
 *     GET_IMAGE_REQUIREMENTS    width, height, format: strides, offsets, size and a blob id are written to the ring
 *     RESOURCE_CREATE_BLOB      with that size and id: a block of the heap
 *     DESCRIBE_IMAGE            sets the framebuffer layout of a blob, such as a buffer of another GPU in the guest
 *     PRESENT                   reports damage of such a blob
 */
export class CrossDomainContext implements RenderContext {
  readonly #heap: GpuHeap
  readonly #host: ContextHost
  readonly #resources = new Map<number, Resource>()
  readonly #images = new Map<string, Image>()
  /** The same images, by blob id. */
  readonly #byBlobId = new Map<number, Image>()
  /** Resource id of the query ring. */
  #ring: number | undefined
  /** Rectangle of the current command. */
  readonly #rect: MutableRect = { x: 0, y: 0, width: 0, height: 0 }

  constructor(heap: GpuHeap, host: ContextHost) {
    this.#heap = heap
    this.#host = host
  }

  attach(resource: Resource): void {
    this.#resources.set(resource.id, resource)
  }

  detach(resource: Resource): void {
    this.#resources.delete(resource.id)
  }

  /** Executes commands up to the first one that fails. */
  submit(commands: Uint8Array): GpuResponse {
    if (commands.length % 4 !== 0) return ERR_INVALID_PARAMETER
    if (commands.length > MAX_COMMAND_BYTES) return ERR_OUT_OF_MEMORY
    for (let at = 0; at < commands.length; ) {
      const size = u16At(commands, at + HEADER_COMMAND_SIZE)
      const end = at + size
      if (size < HEADER_SIZE || end > commands.length || size % 4 !== 0) return ERR_INVALID_PARAMETER
      const response = this.#execute(commands[at + HEADER_COMMAND], commands.subarray(at + HEADER_SIZE, end))
      if (response !== OK_NODATA) return response
      at = end
    }
    return OK_NODATA
  }

  createBlob(request: BlobRequest): HostBlob | GpuResponse {
    const image = this.#byBlobId.get(request.blobId)
    if (!image || request.size !== image.size) return ERR_INVALID_PARAMETER
    const block = this.#heap.create(image.size)
    if (!block) return ERR_OUT_OF_MEMORY
    const blob = new HostBlob(request, this.#heap, block)
    blob.exported.describe(image.layout)
    return blob
  }

  close(): void {
    this.#resources.clear()
    this.#images.clear()
    this.#byBlobId.clear()
  }

  #execute(command: number, body: Uint8Array): GpuResponse {
    switch (command) {
      case PrivateCommand.PRESENT:
        return this.#present(body)
      case PrivateCommand.DESCRIBE_IMAGE:
        return this.#describe(body)
      case CrossDomainCommand.INIT:
        return this.#init(body)
      case CrossDomainCommand.GET_IMAGE_REQUIREMENTS:
        return this.#queryRequirements(body)
      default:
        // All other commands use channels, which are not supported.
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

  #queryRequirements(body: Uint8Array): GpuResponse {
    const query = IMAGE_QUERY.read(readerOf(body))
    if (!query) return ERR_INVALID_PARAMETER
    const image = this.#imageFor(query)
    // Programs read the ring and not the response. Size 0 in the ring keeps them from reading an older answer.
    const written = this.#write(typeof image === 'number' ? NO_IMAGE : image)
    return typeof image === 'number' ? image : written
  }

  /** Returns the requirements of an image, which stay the same in this context. */
  #imageFor({ width, height, fourcc }: ReturnType<typeof IMAGE_QUERY.decode>): Image | GpuResponse {
    const key = `${width} ${height} ${fourcc}`
    const known = this.#images.get(key)
    if (known) return known
    const needs = width > 0 && height > 0 ? layOutImage(width, height, fourcc) : undefined
    if (!needs) return ERR_INVALID_PARAMETER
    if (needs.size > this.#heap.quota || this.#images.size >= MAX_IMAGES) return ERR_OUT_OF_MEMORY
    const blobId = this.#images.size + 1
    const { pageSize } = this.#heap
    const image = { blobId, layout: needs.layout, size: Math.ceil(needs.size / pageSize) * pageSize }
    this.#images.set(key, image)
    this.#byBlobId.set(blobId, image)
    return image
  }

  #write({ blobId, layout: { modifier, planes }, size }: Image): GpuResponse {
    const answer = IMAGE_REQUIREMENTS.encode({
      strides: planes.map(({ stride }) => stride),
      offsets: planes.map(({ offset }) => offset),
      modifier,
      size,
      blobId,
      mapInfo: MapCache.CACHED,
      memoryIndex: NO_INDEX,
      physicalDeviceIndex: NO_INDEX,
    })
    return this.#answer(answer)
  }

  /** Writes an answer to the query ring. Fails if the guest removed the ring or its pages. */
  #answer(bytes: Uint8Array): GpuResponse {
    const backing = this.#resources.get(this.#ring ?? 0)?.backing
    if (!backing || backing.byteLength < IMAGE_REQUIREMENTS.size) return ERR_INVALID_RESOURCE_ID
    backing.write(0, bytes)
    return OK_NODATA
  }

  /** Writes the result to the query ring, if the context has one. */
  #describe(body: Uint8Array): GpuResponse {
    const described = this.#describeImage(body)
    const [response, kind] =
      typeof described === 'number' ? [described, DescribedKind.NOT_SHARED] : [OK_NODATA, KINDS[described]]
    this.#answer(IMAGE_DESCRIBED.encode({ response, kind }))
    return response
  }

  /** @returns how the blob is exported, or the error for the driver */
  #describeImage(body: Uint8Array): BufferKind | GpuResponse {
    const request = IMAGE_DESCRIPTION.read(readerOf(body))
    if (!request) return ERR_INVALID_PARAMETER
    const blob = this.#resources.get(request.resourceId)
    if (!(blob instanceof Blob)) return ERR_INVALID_RESOURCE_ID
    const { width, height, fourcc, modifier, planeCount, strides, offsets } = request
    const planes = strides.slice(0, planeCount).map((stride, i) => ({ offset: offsets[i], stride }))
    const layout: FramebufferLayout = { width, height, fourcc, modifier, planes }
    if (planes.length !== planeCount || !liesWithin(layout, blob.size)) return ERR_INVALID_PARAMETER
    this.#host.share(blob)
    if (!blob.buffer) return ERR_UNSPEC
    blob.exported.describe(layout)
    return blob.buffer.kind
  }

  /** Reports damage. */
  #present(body: Uint8Array): GpuResponse {
    if (body.length < PRESENT_SIZE) return ERR_INVALID_PARAMETER
    const resource = this.#resources.get(u32At(body, PRESENT_RESOURCE))
    if (!resource) return ERR_INVALID_RESOURCE_ID
    const { layout } = resource.exported
    if (!layout) return ERR_UNSPEC
    const rect = this.#rect
    rect.x = u32At(body, PRESENT_RECT)
    rect.y = u32At(body, PRESENT_RECT + 4)
    rect.width = u32At(body, PRESENT_RECT + 8)
    rect.height = u32At(body, PRESENT_RECT + 12)
    if (!fits(rect, layout.width, layout.height)) return ERR_INVALID_PARAMETER
    return this.#host.present(resource, rect) ? OK_NODATA : ERR_UNSPEC
  }
}

const KINDS = { 'dma-buf': DescribedKind.DMA_BUF, linear: DescribedKind.LINEAR } as const

/** Answer to a query that failed. */
const NO_IMAGE: Image = {
  blobId: 0,
  layout: { width: 0, height: 0, fourcc: 0, modifier: MODIFIER_LINEAR, planes: [] },
  size: 0,
}

function u16At(bytes: Uint8Array, at: number): number {
  return bytes[at] | (bytes[at + 1] << 8)
}

function u32At(bytes: Uint8Array, at: number): number {
  return (u16At(bytes, at) | (u16At(bytes, at + 2) << 16)) >>> 0
}

/** Returns a reader over bytes, whose length and offset are multiples of 4. */
function readerOf(bytes: Uint8Array): Reader {
  const spans = new SpanList(1)
  if (bytes.length > 0) spans.add(MemoryRegion.over(0, bytes), 0, bytes.length)
  const reader = new Reader(spans)
  reader.rewind(spans.count, bytes.length)
  return reader
}
