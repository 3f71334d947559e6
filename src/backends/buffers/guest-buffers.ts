import { pageSize } from '../../host/linux/address-space.ts'
import { MemoryFile } from '../../host/linux/memory-file.ts'
import type { Closable } from '../../host/linux/reactor/reactor.ts'
import { fileExtents } from '../../host/linux/udmabuf/file-extents.ts'
import { UdmabufError, UdmabufProblem } from '../../host/linux/udmabuf/udmabuf-error.ts'
import type { SpanList } from '../../memory/span-list.ts'
import type { BufferKind, BufferSharing, NotShared, ShareRequest } from '../../services/shared-buffer.ts'
import { asUdmabufError, BufferMaker, type BufferPlan } from './buffer-maker.ts'
import { type BufferInspection, type BufferListener, type BufferOwner, GuestBuffer, hex } from './guest-buffer.ts'

/** Limit of buffers. Each needs a file descriptor, and the process needs descriptors for other uses. */
const MAX_BUFFERS = 4096
/** Limit of buffers that `inspect` lists. */
const MAX_SHOWN = 256

export interface GuestBuffersOptions {
  /** Receives a line about each reason why buffers are not dma-bufs, once per reason. @default no log */
  readonly log?: (line: string) => void
  /** Path of the driver's device file. @default `/dev/udmabuf` */
  readonly device?: string
}

/** Number and bytes of buffers of one kind, for one reason. */
interface BufferTotal {
  readonly kind: BufferKind
  /** Null for dma-bufs. */
  readonly problem: UdmabufProblem | null
  count: number
  bytes: number
}

/** State of exported buffers, as the inspector, the page and metrics show it. */
export type GuestBuffersInspection = {
  /** Reason why no buffer is a dma-buf; null if dma-bufs are available. */
  readonly unavailable: string | null
  /** At most 256 buffers; `totals` counts all. */
  readonly buffers: readonly BufferInspection[]
  readonly totals: readonly Readonly<BufferTotal>[]
  /** Buffers created so far, with their pieces of guest memory (spans) and of files (pieces, adjacent spans merged). */
  readonly made: { readonly buffers: number; readonly spans: number; readonly pieces: number }
  /** Failed exports, by problem. */
  readonly refused: Readonly<Record<string, number>>
}

/**
 * Exported buffers of a guest: dma-bufs if the driver and its limits allow it, else ranges of memory files, with the
 * reason.
 *
 *     const buffers = GuestBuffers.open({ log })
 *     const gpu = new GpuDevice(display, { sharing: buffers })
 *     buffers.watch({ described: (buffer) => offer(buffer, buffer.layout) })
 *     ...
 *     buffers.find(uuid)?.handles
 *     buffers.close()
 */
export class GuestBuffers implements BufferSharing {
  readonly #log: (line: string) => void
  readonly #maker: BufferMaker
  /** Buffers that the guest or a consumer still holds. */
  readonly #all = new Set<GuestBuffer>()
  readonly #byUuid = new Map<string, GuestBuffer>()
  readonly #watches = new Set<{ readonly listener: BufferListener }>()
  /** Problems that were logged. */
  readonly #loggedProblems = new Set<UdmabufProblem>()
  readonly #made = { buffers: 0, spans: 0, pieces: 0 }
  readonly #refused = new Map<UdmabufProblem, number>()
  readonly #owner: BufferOwner = {
    named: (buffer) => {
      if (buffer.uuid) this.#byUuid.set(hex(buffer.uuid), buffer)
      for (const { listener } of this.#watches) listener.named?.(buffer)
    },
    described: (buffer) => {
      for (const { listener } of this.#watches) listener.described?.(buffer)
    },
    presented: (buffer, damage) => {
      for (const { listener } of this.#watches) listener.presented?.(buffer, damage)
    },
    removed: (buffer) => {
      if (buffer.uuid) this.#byUuid.delete(hex(buffer.uuid))
      for (const { listener } of this.#watches) listener.removed?.(buffer)
    },
    closed: (buffer) => void this.#all.delete(buffer),
  }

  private constructor(log: (line: string) => void, device: string | undefined) {
    this.#log = log
    this.#maker = new BufferMaker(log, device)
  }

  /** Opens the driver. If that fails, all buffers are linear. */
  static open({ log = () => {}, device }: GuestBuffersOptions = {}): GuestBuffers {
    return new GuestBuffers(log, device)
  }

  /** Buffers that the guest still exports. */
  get buffers(): Iterable<GuestBuffer> {
    return [...this.#all].filter(({ removed }) => !removed)
  }

  /** @param uuid 16 bytes */
  find(uuid: Uint8Array): GuestBuffer | undefined {
    return this.#byUuid.get(hex(uuid))
  }

  /** Adds a listener for later events. Listeners must not throw. */
  watch(listener: BufferListener): Closable {
    const watch = { listener }
    this.#watches.add(watch)
    return { close: () => void this.#watches.delete(watch) }
  }

  share(spans: SpanList, { what: name, owner, dmaBufOnly }: ShareRequest): GuestBuffer | NotShared {
    return this.#attempt(() => this.#make({ extents: fileExtents(spans), name, owner, dmaBufOnly }, spans.count))
  }

  allocate(byteLength: number, what: string): GuestBuffer | NotShared {
    return this.#attempt(() => {
      const length = Math.ceil(byteLength / pageSize()) * pageSize()
      const file = MemoryFile.create(what, length)
      try {
        const extents = [{ fd: file.descriptor.fd, offset: 0, length }]
        return this.#make({ extents, name: what, owner: 'host', dmaBufOnly: false }, 1)
      } finally {
        file.close()
      }
    })
  }

  inspect(): GuestBuffersInspection {
    const buffers = [...this.#all].map((buffer) => buffer.inspect())
    const totals = new Map<string, BufferTotal>()
    for (const { kind, problem, bytes } of buffers) {
      const key = problem ?? kind
      const total = totals.get(key) ?? { kind, problem, count: 0, bytes: 0 }
      totals.set(key, total)
      total.count++
      total.bytes += bytes
    }
    return {
      unavailable: this.#maker.unavailable?.message ?? null,
      buffers: buffers.slice(0, MAX_SHOWN),
      totals: [...totals.values()],
      made: { ...this.#made },
      refused: Object.fromEntries(this.#refused),
    }
  }

  /** Ends all exports. Consumers keep the memory of buffers that they hold. */
  close(): void {
    for (const buffer of [...this.#all]) buffer.forceClose()
    this.#watches.clear()
    this.#maker.close()
  }

  /** Returns an error as the reason why there is no buffer. */
  #attempt(make: () => GuestBuffer): GuestBuffer | NotShared {
    try {
      return make()
    } catch (error) {
      const { problem, message: reason } = asUdmabufError(error)
      this.#refused.set(problem, (this.#refused.get(problem) ?? 0) + 1)
      return { reason, problem }
    }
  }

  #make(plan: BufferPlan, spans: number): GuestBuffer {
    const { name, owner } = plan
    if (this.#all.size >= MAX_BUFFERS) {
      const tooMany = `${name} exceeds the limit of ${MAX_BUFFERS} buffers`
      throw new UdmabufError(UdmabufProblem.NO_DESCRIPTOR, tooMany, 'the driver must destroy some')
    }
    const { memory, ...why } = this.#maker.make(plan)
    const pieces = plan.extents.length
    const buffer = new GuestBuffer({ ...why, name, owner, spans, pieces }, memory, this.#owner)
    this.#all.add(buffer)
    this.#made.buffers++
    this.#made.spans += spans
    this.#made.pieces += pieces
    if (why.problem) this.#logProblem(why.problem, why.reason)
    for (const { listener } of this.#watches) listener.added?.(buffer)
    return buffer
  }

  #logProblem(problem: UdmabufProblem, reason: string): void {
    if (this.#maker.unavailable || this.#loggedProblems.has(problem)) return
    this.#loggedProblems.add(problem)
    this.#log(`a buffer is linear, not a dma-buf: ${reason}`)
  }
}
