import { pageSize } from '../../host/linux/address-space.ts'
import type { DmaBuf } from '../../host/linux/udmabuf/dma-buf.ts'
import { checkInFiles } from '../../host/linux/udmabuf/file-extents.ts'
import { MemoryOwner } from '../../host/linux/udmabuf/memory-seals.ts'
import { MAX_VIEW_BYTES } from '../../host/linux/udmabuf/page-view.ts'
import { DMA_BUF_NAME_LEN, type FileExtent } from '../../host/linux/udmabuf/protocol.ts'
import { Udmabuf } from '../../host/linux/udmabuf/udmabuf.ts'
import { UdmabufError, UdmabufProblem } from '../../host/linux/udmabuf/udmabuf-error.ts'
import { type BufferMemory, DmaBufMemory, LinearMemory } from './buffer-memory.ts'
import type { BufferInfo } from './guest-buffer.ts'
import { HeldFiles } from './held-files.ts'

/**
 * Limit of pieces of all linear buffers. Each piece becomes a mapping when this process reads the buffer; a process has
 * 65,530 mappings, and needs some for other uses.
 */
const MAX_MAPPED_PIECES = 49_152

const DMA_BUF_REASONS: Readonly<Record<BufferInfo['owner'], string>> = {
  guest: 'made of the guest’s own pages',
  heap: 'made of its part of the heap',
  host: 'made of the host’s copy',
}

/** Parameters of a new buffer. */
export interface BufferPlan {
  /** Borrowed: open during the call only. */
  readonly extents: readonly FileExtent[]
  readonly name: string
  readonly owner: BufferInfo['owner']
  readonly dmaBufOnly: boolean
}

/** Memory of a new buffer, and the reason for its kind. */
export interface MadeBuffer extends Pick<BufferInfo, 'reason' | 'problem' | 'keepsPages'> {
  readonly memory: BufferMemory
}

/** Creates dma-bufs if the driver and its limits allow it, else linear buffers. */
export class BufferMaker {
  /** Reason why no buffer is a dma-buf; undefined if dma-bufs are available. */
  readonly unavailable: UdmabufError | undefined
  readonly #udmabuf: Udmabuf | undefined
  readonly #files = new HeldFiles()
  /** Pieces of linear buffers that are mapped or may become so. */
  #mappedPieces = 0

  /** @param log receives a line about each failure @param device path of the driver's device file */
  constructor(
    private readonly log: (line: string) => void,
    device: string | undefined,
  ) {
    try {
      this.#udmabuf = Udmabuf.open(device)
    } catch (error) {
      this.unavailable = asUdmabufError(error)
      log(`buffers are linear, not dma-bufs: ${this.unavailable.message}`)
    }
  }

  /** Creates a buffer. @throws {UdmabufError} if neither a dma-buf nor a linear buffer can be made */
  make(plan: BufferPlan): MadeBuffer {
    checkSize(plan)
    const made = this.#makeDmaBuf(plan)
    if (!(made instanceof UdmabufError)) {
      const memory = new DmaBufMemory(made, this.log)
      const keepsPages = plan.owner !== 'heap' || haveSmallPages(plan)
      return { memory, reason: DMA_BUF_REASONS[plan.owner], problem: undefined, keepsPages }
    }
    const { message: reason, problem } = made
    if (plan.dmaBufOnly) throw made
    return { memory: this.#makeLinear(plan, made), reason, problem, keepsPages: false }
  }

  close(): void {
    this.#udmabuf?.close()
  }

  #makeDmaBuf({ extents, name, owner }: BufferPlan): DmaBuf | UdmabufError {
    if (!this.#udmabuf) return this.unavailable as UdmabufError
    try {
      const buffer = this.#udmabuf.create(extents, name, owner === 'guest' ? MemoryOwner.PEER : MemoryOwner.OURS)
      this.#label(buffer, name)
      return buffer
    } catch (error) {
      return asUdmabufError(error)
    }
  }

  /** The name is only shown in lists of the system, so a failure is logged and ignored. */
  #label(buffer: DmaBuf, name: string): void {
    try {
      buffer.setName(name.slice(0, DMA_BUF_NAME_LEN - 1))
    } catch (error) {
      this.log(asUdmabufError(error).message)
    }
  }

  #makeLinear({ extents, name }: BufferPlan, why: UdmabufError): BufferMemory {
    const pieces = extents.length
    if (this.#mappedPieces + pieces > MAX_MAPPED_PIECES) {
      const scattered = `${name} is in ${pieces} pieces, and ${this.#mappedPieces} of ${MAX_MAPPED_PIECES} are taken`
      throw new UdmabufError(UdmabufProblem.TOO_MANY_PIECES, scattered, 'have the guest use larger pieces')
    }
    const held = this.#files.hold(extents)
    try {
      const memory = new LinearMemory(held, name, why.message, this.log, () => {
        this.#mappedPieces -= pieces
      })
      this.#mappedPieces += pieces
      return memory
    } catch (error) {
      held.close()
      throw error
    }
  }
}

/** Converts any error to an `UdmabufError`, for counters and messages. */
export function asUdmabufError(error: unknown): UdmabufError {
  if (error instanceof UdmabufError) return error
  const cause = error instanceof Error ? error : new Error(String(error))
  return new UdmabufError(UdmabufProblem.REFUSED, 'the memory cannot be exported', cause.message, { cause })
}

/** Larger buffers are refused, because this process could not map all of them. */
function checkSize({ extents, name }: BufferPlan): void {
  const length = extents.reduce((sum, extent) => sum + extent.length, 0)
  if (length <= MAX_VIEW_BYTES) return
  const tooLarge = `${name} has ${length} bytes, and a buffer at most ${MAX_VIEW_BYTES}`
  throw new UdmabufError(UdmabufProblem.TOO_LARGE, tooLarge, 'have the guest use smaller ones')
}

/**
 * True if all pages are ordinary: discarding one removes it from its file, while huge pages are overwritten in place.
 */
function haveSmallPages({ extents, name }: BufferPlan): boolean {
  return [...checkInFiles(extents, name).values()].every((page) => page === pageSize())
}
