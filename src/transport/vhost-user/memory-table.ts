import { fstatSync } from 'node:fs'
import type { Descriptor } from '../../host/linux/descriptor.ts'
import { type MappedRegion, Mapping } from '../../host/linux/mapping.ts'
import { GuestMemory } from '../../memory/guest-memory.ts'
import type { MemoryRegionMessage } from './messages.ts'
import { VhostUserError } from './vhost-user-error.ts'

/** Maximum number of regions. Each uses a descriptor of this process. */
export const MAX_SLOTS = 256
/** Maximum size of all regions in bytes. The work for a region grows with its size, by one step a GiB. */
const MAX_BYTES = 2 ** 44

/** Mapped region of the front-end. */
interface Slot extends MemoryRegionMessage {
  readonly mapping: Mapping
  readonly regions: readonly MappedRegion[]
  /** Identity of the file. */
  readonly file: string
}

/**
 * Memory table of the front-end: guest address, front-end address and file of each region.
 *
 *     table.add({ guestAddress: 0, size: 1 << 30, userAddress: 0x7f00_0000_0000, mmapOffset: 0 }, descriptor)
 *     table.guestAddress(0x7f00_0000_1000)       // 0x1000
 *     table.memory.translate(0x1000, 16, spans)
 *
 * A removed region stays mapped until `releaseRetired`, because chains in flight may use it: often the same memory
 * returns at once, in other regions.
 * @vhost-user Memory access
 */
export class MemoryTable {
  readonly memory = new GuestMemory([])
  #slots: readonly Slot[] = []
  #retired: Mapping[] = []
  #warned = false

  /** @param warn called once if a file may shrink while it is in use */
  constructor(private readonly warn: (line: string) => void) {}

  /** Number of removed mappings that were not released. */
  get retired(): number {
    return this.#retired.length
  }

  get slots(): number {
    return this.#slots.length
  }

  /**
   * Adds a region. Takes ownership of the descriptor, even if the call fails.
   * @throws {VhostUserError | SystemCallError | RangeError} if it cannot be added; the table is unchanged then
   */
  add(region: MemoryRegionMessage, descriptor: Descriptor): void {
    if (this.#slots.length >= MAX_SLOTS) {
      descriptor.close()
      throw new VhostUserError(`the number of regions must not exceed ${MAX_SLOTS}`)
    }
    const slot = openSlot(region, descriptor)
    this.#change([...this.#slots, slot], [slot])
  }

  /** Removes a region. @throws {VhostUserError} if there is no such region */
  remove({ guestAddress, userAddress, size }: MemoryRegionMessage): void {
    const removed = this.#slots.find(
      (slot) => slot.guestAddress === guestAddress && slot.userAddress === userAddress && slot.size === size,
    )
    if (!removed) throw new VhostUserError(`no region of ${size} bytes at ${guestAddress.toString(16)}`)
    this.#change(
      this.#slots.filter((slot) => slot !== removed),
      [],
    )
  }

  /** Replaces all regions. Regions that exist already stay mapped. */
  set(regions: readonly MemoryRegionMessage[], descriptors: readonly Descriptor[]): void {
    const opened: Slot[] = []
    const unused = [...descriptors]
    try {
      const slots = regions.map((region) => {
        const descriptor = unused.shift()
        if (!descriptor) throw new VhostUserError('a region without a descriptor')
        const known = this.#slots.find((slot) => isSame(slot, region) && slot.file === fileOf(descriptor))
        if (known) {
          descriptor.close()
          return known
        }
        const slot = openSlot(region, descriptor)
        opened.push(slot)
        return slot
      })
      this.#change(slots, opened)
    } catch (error) {
      for (const descriptor of unused) descriptor.close()
      for (const slot of opened) slot.mapping.close()
      throw error
    }
  }

  /** Translates a front-end address to a guest address; undefined if no region contains it. */
  guestAddress(userAddress: number): number | undefined {
    const slot = this.#slots.find((one) => userAddress >= one.userAddress && userAddress - one.userAddress < one.size)
    return slot && slot.guestAddress + (userAddress - slot.userAddress)
  }

  /** Releases all removed mappings. No chain in flight may use them. */
  releaseRetired(): void {
    for (let mapping = this.#retired.pop(); mapping; mapping = this.#retired.pop()) mapping.close()
  }

  close(): void {
    this.memory.replace([])
    for (const { mapping } of this.#slots) mapping.close()
    this.#slots = []
    this.releaseRetired()
  }

  #change(slots: readonly Slot[], opened: readonly Slot[]): void {
    try {
      const ends = slots.map(({ userAddress, size }) => [userAddress, userAddress + size] as const)
      ends.sort(([a], [b]) => a - b)
      for (let i = 1; i < ends.length; i++) {
        if (ends[i][0] < ends[i - 1][1]) throw new VhostUserError('regions overlap in the front-end’s address space')
      }
      const bytes = slots.reduce((sum, { size }) => sum + size, 0)
      if (bytes > MAX_BYTES) throw new VhostUserError(`memory must not exceed ${MAX_BYTES} bytes (${bytes})`)
      this.memory.replace(slots.flatMap((slot) => slot.regions))
    } catch (error) {
      for (const slot of opened) slot.mapping.close()
      throw error
    }
    this.#retired.push(...this.#slots.filter((slot) => !slots.includes(slot)).map((slot) => slot.mapping))
    this.#slots = slots
    const risk = opened.find(({ mapping }) => mapping.mayShrink !== undefined)?.mapping.mayShrink
    if (risk !== undefined && !this.#warned) this.warn(risk)
    this.#warned ||= risk !== undefined
  }
}

/** Maps a region. Takes ownership of the descriptor, even if the call fails. */
function openSlot(region: MemoryRegionMessage, descriptor: Descriptor): Slot {
  const { guestAddress, userAddress, mmapOffset } = region
  // Views are of whole words; drivers do not use the remaining bytes.
  const size = region.size - (region.size % 4)
  if (region.size > MAX_BYTES) {
    descriptor.close()
    throw new VhostUserError(`a region must not exceed ${MAX_BYTES} bytes (${region.size})`)
  }
  for (const end of [guestAddress + region.size, userAddress + region.size, mmapOffset + region.size]) {
    if (!Number.isSafeInteger(end)) {
      descriptor.close()
      throw new VhostUserError(`the end of a region is too large: ${end.toString(16)}`)
    }
  }
  let mapping: Mapping | undefined
  try {
    const file = fileOf(descriptor)
    mapping = Mapping.of(descriptor, { offset: mmapOffset, length: size })
    return { ...region, mapping, regions: mapping.regions(guestAddress), file }
  } catch (error) {
    mapping?.close()
    descriptor.close()
    throw error
  }
}

function isSame(a: MemoryRegionMessage, b: MemoryRegionMessage): boolean {
  return (
    a.guestAddress === b.guestAddress &&
    a.size === b.size &&
    a.userAddress === b.userAddress &&
    a.mmapOffset === b.mmapOffset
  )
}

function fileOf(descriptor: Descriptor): string {
  const { dev, ino } = fstatSync(descriptor.fd)
  return `${dev}:${ino}`
}
