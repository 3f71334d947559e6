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
/** Maximum total bytes of shared ranges: more than any guest has. */
const MAX_BYTES = 2 ** 42

/** Limits of shadow memory for a client that shares no memory. Pages that are not accessed take no space. */
const MAX_SHADOWS = 256
const MAX_SHADOW_BYTES = 2 ** 36

const UNSHARED =
  'the driver uses memory that the client does not share. ' +
  'fix: share it (QEMU: memory-backend-memfd,share=on as memory-backend)'

/** QEMU 11.1 unmaps all memory when the guest attaches the device to an IOMMU, and maps none afterwards. */
const WITHDRAWN =
  'the driver uses memory, but the client unmapped all of it, as QEMU does behind an IOMMU. ' +
  'fix: no IOMMU before this device (docs/qemu.md, "Behind an IOMMU")'

/** Range of guest memory that the client mapped for the function. */
interface Range {
  readonly address: number
  readonly size: number
  readonly flags: number
  /** True if the client shares it. */
  readonly shared: boolean
  /**
   * File part with its bytes, or shadow memory if the client shares no range; undefined if the range is inaccessible.
   */
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
 * Unmapped memory stays mapped in this process until `releaseRetired`, because a device may be using it. Ranges without
 * a file (ROM, BARs of other devices, unshared memory) are recorded, but devices cannot access them. Exception: if the
 * client shares no range at all, its ranges have shadow memory, and bytes are transferred by messages.
 * @vfio-user DMA_MAP, DMA_UNMAP
 */
export class DmaTable {
  readonly #files: SharedFiles
  /** Mapped ranges by address. */
  #ranges = new Map<number, Range>()
  #retired: Mapping[] = []
  #warned = false
  /** True if the client has ever mapped a range. */
  #mapped = false

  /**
   * @param memory receives the regions of the mapped ranges
   * @param messages access to the memory of a client that shares none
   * @param warn called once if a file may shrink while it is in use, and once if a device uses memory that is not
   *   mapped or shared
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

  /** Number of mapped ranges. */
  get size(): number {
    return this.#ranges.size
  }

  /**
   * Adds a range. Takes ownership of the descriptor, even if the call fails.
   * @throws {VfioUserError | SystemCallError | RangeError} if it cannot be mapped; the table is unchanged then
   */
  map(message: Omit<DmaMapMessage, 'argsz'>, descriptor: Descriptor | undefined): void {
    try {
      this.#check(message)
    } catch (error) {
      descriptor?.close()
      throw error
    }
    const { flags, offset, address, size } = message
    const isPrivate = (flags & DmaFlag.WRITE) === 0
    // A range without the READ flag is treated as not shared.
    if ((flags & DmaFlag.READ) === 0) descriptor?.close()
    const isShared = descriptor && !descriptor.closed
    const part = isShared ? this.#files.open(descriptor, { offset, length: size, private: isPrivate }) : undefined
    const regions = part?.regions(address) ?? []
    this.#ranges.set(address, { address, size, flags, shared: part !== undefined, part, regions })
    this.#mapped = true
    this.#publish()
  }

  /**
   * Removes all ranges within a range.
   * @throws {VfioUserError} if it contains none, or only part of one
   */
  unmap(address: number, size: number): void {
    const removed = [...this.#ranges.values()].filter(
      (range) => range.address < address + size && address < range.address + range.size,
    )
    const what = `${size} bytes at ${address.toString(16)}`
    if (removed.length === 0) throw new VfioUserError(Errno.ENOENT, `nothing is mapped in ${what}`)
    if (removed.some((range) => range.address < address || range.address + range.size > address + size)) {
      throw new VfioUserError(Errno.EINVAL, `${what} contain only part of a mapped range`)
    }
    this.#remove(removed)
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

  /** True if unmapped memory waits for `releaseRetired`. */
  get isRetiring(): boolean {
    return this.#retired.length > 0
  }

  /** True if the address is in a mapped range that devices cannot access. */
  #isUnshared(address: number): boolean {
    for (const range of this.#ranges.values()) {
      if (address >= range.address && address - range.address < range.size) return range.part === undefined
    }
    return false
  }

  #check({ flags, offset, address, size }: Omit<DmaMapMessage, 'argsz'>): void {
    const end = address + size
    if ((flags & ~FLAGS) !== 0) throw new VfioUserError(Errno.EINVAL, `invalid flags 0x${flags.toString(16)}`)
    if (size === 0 || address % PAGE !== 0 || size % PAGE !== 0 || offset % PAGE !== 0) {
      throw new VfioUserError(
        Errno.EINVAL,
        `${size} bytes at ${address.toString(16)}, offset ${offset}, are not whole pages`,
      )
    }
    const shared = [...this.#ranges.values()].reduce((sum, range) => sum + (range.shared ? range.size : 0), size)
    if (shared > MAX_BYTES)
      throw new VfioUserError(Errno.ENOSPC, `shared memory must not exceed ${MAX_BYTES} bytes (${shared})`)
    if (!Number.isSafeInteger(end) || !Number.isSafeInteger(offset + size)) {
      throw new VfioUserError(Errno.EINVAL, `the end of the range is too large: ${end.toString(16)}`)
    }
    if (this.#ranges.size >= MAX_MAPS)
      throw new VfioUserError(Errno.ENOSPC, `the number of ranges must not exceed ${MAX_MAPS}`)
    for (const range of this.#ranges.values()) {
      if (range.address < end && address < range.address + range.size) {
        throw new VfioUserError(Errno.EEXIST, `the range overlaps the one at ${range.address.toString(16)}`)
      }
    }
  }

  #remove(ranges: readonly Range[]): void {
    for (const range of ranges) {
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
      this.#addShadows(ranges)
      this.memory.bounce = this.messages
    } else {
      for (const range of ranges) if (!range.shared) this.#retire(range)
      this.memory.bounce = undefined
    }
    this.memory.replace(ranges.flatMap(({ regions }) => regions))
  }

  /** Adds shadow memory to readable and writable ranges that have none, up to the limits. */
  #addShadows(ranges: readonly Range[]): void {
    let [count, bytes] = [0, 0]
    for (const range of ranges) {
      const { address, size, flags } = range
      if ((flags & FLAGS) !== FLAGS || count === MAX_SHADOWS || bytes + size > MAX_SHADOW_BYTES) continue
      count++
      bytes += size
      if (range.part) continue
      const file = MemoryFile.create('shadow memory', size)
      range.part = this.#files.open(file.descriptor, { offset: 0, length: size, hidden: true })
      range.regions = range.part.regions(address)
    }
  }
}
