import type { MemoryRegion } from '../../../../memory/memory-region.ts'
import { SpanList } from '../../../../memory/span-list.ts'
import type { FramebufferLayout } from '../../../../services/framebuffer-layout.ts'
import type { Rect } from '../../../../services/rect.ts'
import type {
  BufferKind,
  BufferSharing,
  NotShared,
  SharedBuffer,
  ShareRequest,
} from '../../../../services/shared-buffer.ts'

export interface BufferPlace {
  readonly region: MemoryRegion
  readonly offset: number
}

/** A buffer of `MemorySharing`. Records the calls it receives. */
export class MemoryBuffer implements SharedBuffer {
  readonly reason: string
  /** Number of `close` calls. */
  closed = 0
  uuid: Uint8Array | undefined
  readonly layouts: FramebufferLayout[] = []
  readonly presented: Rect[] = []
  /** Reads that began and did not end. */
  reading = 0
  reads = 0
  /** True while a consumer holds it. */
  held = false
  readonly #bytes: () => Uint8Array

  constructor(
    readonly what: string,
    readonly kind: BufferKind,
    readonly byteLength: number,
    bytes: () => Uint8Array,
    /** Place of its first byte; undefined if it was allocated. */
    readonly place?: BufferPlace,
  ) {
    this.reason = `${kind} of memory`
    this.#bytes = bytes
  }

  get bytes(): Uint8Array {
    return this.closed > 0 ? new Uint8Array(this.byteLength) : this.#bytes()
  }

  get inUse(): boolean {
    return this.held && this.kind === 'linear'
  }

  beginRead(): void {
    this.reading++
    this.reads++
  }

  endRead(): void {
    this.reading--
  }

  assignUuid(uuid: Uint8Array): void {
    this.uuid = uuid
  }

  describe(layout: FramebufferLayout): void {
    this.layouts.push(layout)
  }

  present(damage: Rect): void {
    this.presented.push(damage)
  }

  close(): void {
    this.closed++
  }
}

/**
 * `BufferSharing` without consumers. Records all buffers that it creates.
 *
 *     const sharing = new MemorySharing()
 *     const gpu = new GpuRig({ sharing })
 *     sharing.refusal = { problem: 'too-large', reason: 'it has too many bytes' }     // refuses all later requests
 */
export class MemorySharing implements BufferSharing {
  kind: BufferKind = 'dma-buf'
  /** Refusal of all requests, if set. */
  refusal: NotShared | undefined
  readonly requests: ShareRequest[] = []
  /** All buffers, open and closed. */
  readonly buffers: MemoryBuffer[] = []

  /** Open buffers. */
  get open(): MemoryBuffer[] {
    return this.buffers.filter(({ closed }) => closed === 0)
  }

  share(spans: SpanList, request: ShareRequest): SharedBuffer | NotShared {
    this.requests.push(request)
    if (request.dmaBufOnly && this.kind !== 'dma-buf') return { problem: 'no-device', reason: 'there are no dma-bufs' }
    const pieces = new SpanList()
    for (let i = 0; i < spans.count; i++) pieces.add(spans.regions[i], spans.offsets[i], spans.lengths[i])
    const place = { region: spans.regions[0], offset: spans.offsets[0] }
    return this.#make(request.what, spans.byteLength, () => gather(pieces), place)
  }

  allocate(byteLength: number, what: string): SharedBuffer | NotShared {
    const bytes = new Uint8Array(Math.ceil(byteLength / 4096) * 4096)
    return this.#make(what, bytes.length, () => bytes)
  }

  #make(what: string, byteLength: number, bytes: () => Uint8Array, place?: BufferPlace): SharedBuffer | NotShared {
    if (this.refusal) return this.refusal
    const buffer = new MemoryBuffer(what, this.kind, byteLength, bytes, place)
    this.buffers.push(buffer)
    return buffer
  }
}

/** Copies the current bytes of all spans into one array. */
function gather(spans: SpanList): Uint8Array {
  const bytes = new Uint8Array(spans.byteLength)
  for (let i = 0, at = 0; i < spans.count; at += spans.lengths[i++]) {
    bytes.set(spans.regions[i].u8.subarray(spans.offsets[i], spans.offsets[i] + spans.lengths[i]), at)
  }
  return bytes
}
