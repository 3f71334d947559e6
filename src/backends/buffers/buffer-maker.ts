import { pageSize } from '../../host/linux/address-space.ts'
import type { DmaBuf } from '../../host/linux/udmabuf/dma-buf.ts'
import { checkInFiles } from '../../host/linux/udmabuf/file-extents.ts'
import { MemoryOwner } from '../../host/linux/udmabuf/memory-seals.ts'
import { MAX_VIEW_BYTES } from '../../host/linux/udmabuf/page-view.ts'
import { DMA_BUF_NAME_LEN, type FileExtent } from '../../host/linux/udmabuf/protocol.ts'
import { Udmabuf } from '../../host/linux/udmabuf/udmabuf.ts'
import { UdmabufError, UdmabufProblem } from '../../host/linux/udmabuf/udmabuf-error.ts'
import { type BufferMemory, DmaBufMemory, LinearMemory } from './buffer-memory.ts'
import type { BufferFacts } from './guest-buffer.ts'
import { HeldFiles } from './held-files.ts'

/** Each piece of a linear buffer becomes a mapping once this process looks at it, of which a process has 65,530, and needs some for other things. */
const MAX_MAPPED_PIECES = 49_152

const DMA_BUF_REASONS: Readonly<Record<BufferFacts['owner'], string>> = {
  guest: 'made of the guest’s own pages',
  heap: 'made of its part of the heap',
  host: 'made of the host’s copy',
}

/** A buffer that is wanted. */
export interface BufferPlan {
  /** Borrowed. */
  readonly extents: readonly FileExtent[]
  readonly name: string
  readonly owner: BufferFacts['owner']
  readonly dmaBufOnly: boolean
}

/** Its memory, and why it is of the kind it is. */
export interface MadeBuffer extends Pick<BufferFacts, 'reason' | 'problem' | 'keepsPages'> {
  readonly memory: BufferMemory
}

/** Makes a dma-buf where the driver and its limits let it, else a linear view. */
export class BufferMaker {
  /** Why none is a dma-buf. */
  readonly unavailable: UdmabufError | undefined
  readonly #udmabuf: Udmabuf | undefined
  readonly #files = new HeldFiles()
  /** Of linear buffers that are mapped, or may be at any time. */
  #mappedPieces = 0

  /**
   * @param tell takes a line about what does not work
   * @param device the driver's file
   */
  constructor(
    private readonly tell: (line: string) => void,
    device: string | undefined,
  ) {
    try {
      this.#udmabuf = Udmabuf.open(device)
    } catch (error) {
      this.unavailable = asUdmabufError(error)
      tell(`no buffer of the guest becomes a dma-buf: ${this.unavailable.message}`)
    }
  }

  /** @throws {UdmabufError} */
  make(plan: BufferPlan): MadeBuffer {
    checkSize(plan)
    const made = this.#makeDmaBuf(plan)
    if (!(made instanceof UdmabufError)) {
      const memory = new DmaBufMemory(made, this.tell)
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

  /** What lists of the system show is a help, and nothing depends on it. */
  #label(buffer: DmaBuf, name: string): void {
    try {
      buffer.setName(name.slice(0, DMA_BUF_NAME_LEN - 1))
    } catch (error) {
      this.tell(asUdmabufError(error).message)
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
      const memory = new LinearMemory(held, name, why.message, this.tell, () => {
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

/** Whatever went wrong, as something to count and to tell people. */
export function asUdmabufError(error: unknown): UdmabufError {
  if (error instanceof UdmabufError) return error
  const cause = error instanceof Error ? error : new Error(String(error))
  return new UdmabufError(UdmabufProblem.REFUSED, 'it cannot be shared', cause.message, { cause })
}

/** Neither a dma-buf nor a view of more is of use: nobody could look at all of it. */
function checkSize({ extents, name }: BufferPlan): void {
  const length = extents.reduce((sum, extent) => sum + extent.length, 0)
  if (length <= MAX_VIEW_BYTES) return
  const tooLarge = `${name} has ${length} bytes, and a buffer at most ${MAX_VIEW_BYTES}`
  throw new UdmabufError(UdmabufProblem.TOO_LARGE, tooLarge, 'have the guest use smaller ones')
}

/** Whether discarding one leaves those beside it alone: huge ones are only overwritten. */
function haveSmallPages({ extents, name }: BufferPlan): boolean {
  return [...checkInFiles(extents, name).values()].every((page) => page === pageSize())
}
