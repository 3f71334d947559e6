import type { Descriptor } from '../../host/linux/descriptor.ts'
import { Errno } from '../../host/linux/errno.ts'
import type { Mapping } from '../../host/linux/mapping.ts'
import { MemoryFile } from '../../host/linux/memory-file.ts'
import type { BounceMemory } from '../../memory/bounce-memory.ts'
import type { GuestMemory } from '../../memory/guest-memory.ts'
import type { MemoryRegion } from '../../memory/memory-region.ts'
import type { DmaMapMessage } from './messages.ts'
import { DmaFlag, MAX_MAPS, PAGE } from './protocol.ts'
import { SharedFiles, type SharedPart } from './shared-files.ts'
import { VfioUserError } from './vfio-user-error.ts'

const FLAGS = DmaFlag.READ | DmaFlag.WRITE
/** Bytes of one range, and of all that are shared; more is no guest's memory. */
const MAX_BYTES = 2 ** 42

/** Memory of our own for what a client that shares nothing has; untouched it takes no space. */
const MAX_SHADOWS = 256
const MAX_SHADOW_BYTES = 2 ** 36

const UNSHARED =
  'the driver uses memory that the client keeps to itself: share it (QEMU: memory-backend-memfd,share=on as memory-backend)'

/** QEMU (11.1) does this when the guest attaches the device to an IOMMU, and maps nothing from then on. */
const WITHDRAWN =
  'the driver uses memory and the client unmapped all of it, as QEMU does behind an IOMMU. ' +
  'fix: no IOMMU before this device (docs/qemu.md, "Behind an IOMMU")'

/** A range the function may reach. */
interface Range {
  readonly address: number
  readonly size: number
  readonly flags: number
  /** Whether the client shares it. */
  readonly shared: boolean
  /** Where its bytes are, or what stands for them while the client shares nothing at all. */
  part: SharedPart | undefined
  regions: readonly MemoryRegion[]
}

/**
 * The guest's memory as the client describes it, range by range.
 *
 *     table.map({ flags: 3, offset: 0, address: 0, size: 1 << 30 }, descriptor)
 *     table.unmap(0, 1 << 30)
 *     table.releaseRetired()
 *
 * What is unmapped stays where it is until `releaseRetired`, since a device may be in the middle of using it. Ranges
 * without a file (ROM, BARs of other devices, memory the client keeps to itself) are known, and no device reaches them,
 * but for those of a client that shares nothing: they have shadows, and bytes come and go by message.
 * @vfio-user DMA_MAP, DMA_UNMAP
 */
export class DmaTable {
  readonly #files: SharedFiles
  /** By address. */
  #ranges = new Map<number, Range>()
  #retired: Mapping[] = []
  #warned = false
  /** The client mapped a range, now or before. */
  #mapped = false

  /**
   * @param memory kept as the client describes it
   * @param messages how to reach what a client that shares nothing has
   * @param warn called once if memory could vanish while it is in use, and if a device needs memory that is not mapped or shared
   */
  constructor(
    private readonly memory: GuestMemory,
    private readonly messages: BounceMemory,
    warn: (line: string) => void,
  ) {
    this.#files = new SharedFiles((line) => {
      if (!this.#warned) warn(line)
      this.#warned = true
    })
    memory.onMiss = (address) => {
      const isWithdrawn = this.#mapped && this.#ranges.size === 0
      if (!isWithdrawn && !this.#isUnshared(address)) return
      warn(isWithdrawn ? WITHDRAWN : UNSHARED)
      memory.onMiss = undefined
    }
  }

  /** Ranges that are mapped. */
  get size(): number {
    return this.#ranges.size
  }

  /** Adds a range. The descriptor is the table's, whatever happens. @throws where it cannot be; nothing is changed then */
  map(message: Omit<DmaMapMessage, 'argsz'>, descriptor: Descriptor | undefined): void {
    try {
      this.#check(message)
    } catch (error) {
      descriptor?.close()
      throw error
    }
    const { flags, offset, address, size } = message
    const isPrivate = (flags & DmaFlag.WRITE) === 0
    // Memory that must not be read counts as not shared.
    if ((flags & DmaFlag.READ) === 0) descriptor?.close()
    const isShared = descriptor && !descriptor.closed
    const part = isShared ? this.#files.open(descriptor, { offset, length: size, private: isPrivate }) : undefined
    const regions = part?.regions(address) ?? []
    this.#ranges.set(address, { address, size, flags, shared: part !== undefined, part, regions })
    this.#mapped = true
    this.#publish()
  }

  /**
   * Takes ranges out: those that lie in this one, of which there has to be one.
   * @throws {VfioUserError} where there is none, or only part of one would go
   */
  unmap(address: number, size: number): void {
    const gone = [...this.#ranges.values()].filter(
      (range) => range.address < address + size && address < range.address + range.size,
    )
    const what = `${size} bytes at ${address.toString(16)}`
    if (gone.length === 0) throw new VfioUserError(Errno.ENOENT, `nothing is mapped in ${what}`)
    if (gone.some((range) => range.address < address || range.address + range.size > address + size)) {
      throw new VfioUserError(Errno.EINVAL, `${what} are part of what was mapped`)
    }
    this.#remove(gone)
  }

  unmapAll(): void {
    this.#remove([...this.#ranges.values()])
  }

  /** Releases all unmapped regions. No chain in flight may use them. */
  releaseRetired(): void {
    for (let mapping = this.#retired.pop(); mapping; mapping = this.#retired.pop()) mapping.close()
  }

  close(): void {
    this.memory.onMiss = undefined
    this.unmapAll()
    this.releaseRetired()
  }

  /** Whether something that was memory is not any more, and waits for `releaseRetired`. */
  get isRetiring(): boolean {
    return this.#retired.length > 0
  }

  /** Whether it is the client's memory, which it keeps to itself. */
  #isUnshared(address: number): boolean {
    for (const range of this.#ranges.values()) {
      if (address >= range.address && address - range.address < range.size) return range.part === undefined
    }
    return false
  }

  #check({ flags, offset, address, size }: Omit<DmaMapMessage, 'argsz'>): void {
    const end = address + size
    if ((flags & ~FLAGS) !== 0) throw new VfioUserError(Errno.EINVAL, `flags are 0x${flags.toString(16)}`)
    if (size === 0 || address % PAGE !== 0 || size % PAGE !== 0 || offset % PAGE !== 0) {
      throw new VfioUserError(Errno.EINVAL, `${size} bytes at ${address.toString(16)} are no pages`)
    }
    const shared = [...this.#ranges.values()].reduce((sum, range) => sum + (range.shared ? range.size : 0), size)
    if (shared > MAX_BYTES) throw new VfioUserError(Errno.ENOSPC, `${shared} bytes are too many`)
    if (!Number.isSafeInteger(end) || !Number.isSafeInteger(offset + size)) {
      throw new VfioUserError(Errno.EINVAL, `a range that ends at ${end.toString(16)}`)
    }
    if (this.#ranges.size >= MAX_MAPS) throw new VfioUserError(Errno.ENOSPC, `more than ${MAX_MAPS} ranges`)
    for (const range of this.#ranges.values()) {
      if (range.address < end && address < range.address + range.size) {
        throw new VfioUserError(Errno.EEXIST, `something is mapped at ${range.address.toString(16)}`)
      }
    }
  }

  #remove(gone: readonly Range[]): void {
    for (const range of gone) {
      this.#ranges.delete(range.address)
      this.#retire(range)
    }
    this.#publish()
  }

  #retire(range: Range): void {
    const mapping = range.part?.release()
    if (mapping) this.#retired.push(mapping)
    range.part = undefined
    range.regions = []
  }

  #publish(): void {
    const ranges = [...this.#ranges.values()]
    if (ranges.length > 0 && !ranges.some(({ shared }) => shared)) {
      this.#cast(ranges)
      this.memory.bounce = this.messages
    } else {
      for (const range of ranges) if (!range.shared) this.#retire(range)
      this.memory.bounce = undefined
    }
    this.memory.replace(ranges.flatMap(({ regions }) => regions))
  }

  /** Gives shadows to ranges that have none. What a device may not both read and write is left out, and what is too much. */
  #cast(ranges: readonly Range[]): void {
    let [count, bytes] = [0, 0]
    for (const range of ranges) {
      const { address, size, flags } = range
      if ((flags & FLAGS) !== FLAGS || count === MAX_SHADOWS || bytes + size > MAX_SHADOW_BYTES) continue
      count++
      bytes += size
      if (range.part) continue
      const file = MemoryFile.create('memory that is not shared', size)
      range.part = this.#files.open(file.descriptor, { offset: 0, length: size, hidden: true })
      range.regions = range.part.regions(address)
    }
  }
}
