import { fstatSync } from 'node:fs'
import type { Descriptor } from '../../host/linux/descriptor.ts'
import { type MappedRegion, Mapping } from '../../host/linux/mapping.ts'
import { GuestMemory } from '../../memory/guest-memory.ts'
import type { MemoryRegionMessage } from './messages.ts'
import { VhostUserError } from './vhost-user-error.ts'

/** Slots there are for ADD_MEM_REG. Each takes a descriptor of this process. */
export const MAX_SLOTS = 256
/** Bytes of all regions; more is no guest's memory. What is done for a region grows with its size, by a step a gigabyte. */
const MAX_BYTES = 2 ** 44

/** A region of the front-end's, mapped here. */
interface Slot extends MemoryRegionMessage {
  readonly mapping: Mapping
  readonly regions: readonly MappedRegion[]
  /** The file, told from others. */
  readonly file: string
}

/**
 * The guest's memory as the front-end describes it: where each part is in the guest, in the front-end, and in which
 * file.
 *
 *     table.add({ guestAddress: 0, size: 1 << 30, userAddress: 0x7f00_0000_0000, mmapOffset: 0 }, descriptor)
 *     table.guestAddress(0x7f00_0000_1000)       // 0x1000
 *     table.memory.translate(0x1000, 16, spans)
 *
 * What is removed stays mapped until `releaseRetired`, since a device may be in the middle of using it: often the same
 * memory comes back at once, cut another way.
 * @vhost-user Memory access
 */
export class MemoryTable {
  readonly memory = new GuestMemory([])
  #slots: readonly Slot[] = []
  #retired: Mapping[] = []
  #warned = false

  /** @param warn told once where memory can vanish while it is in use */
  constructor(private readonly warn: (line: string) => void) {}

  /** Mappings that were removed and not released. */
  get retired(): number {
    return this.#retired.length
  }

  get slots(): number {
    return this.#slots.length
  }

  /** Adds one. The descriptor is the table's, whatever happens. @throws where it cannot be; nothing is changed then */
  add(region: MemoryRegionMessage, descriptor: Descriptor): void {
    if (this.#slots.length >= MAX_SLOTS) {
      descriptor.close()
      throw new VhostUserError(`more than ${MAX_SLOTS} regions`)
    }
    const slot = openSlot(region, descriptor)
    this.#change([...this.#slots, slot], [slot])
  }

  /** Takes one out. @throws {VhostUserError} where it is not there */
  remove({ guestAddress, userAddress, size }: MemoryRegionMessage): void {
    const gone = this.#slots.find(
      (slot) => slot.guestAddress === guestAddress && slot.userAddress === userAddress && slot.size === size,
    )
    if (!gone) throw new VhostUserError(`no region of ${size} bytes at ${guestAddress.toString(16)}`)
    this.#change(
      this.#slots.filter((slot) => slot !== gone),
      [],
    )
  }

  /** All regions at once. Those that are there already stay as they are. */
  set(regions: readonly MemoryRegionMessage[], descriptors: readonly Descriptor[]): void {
    const opened: Slot[] = []
    const left = [...descriptors]
    try {
      const slots = regions.map((region) => {
        const descriptor = left.shift()
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
      for (const descriptor of left) descriptor.close()
      for (const slot of opened) slot.mapping.close()
      throw error
    }
  }

  /** Where the guest has what the front-end has at an address of its own; undefined where that is nowhere. */
  guestAddress(userAddress: number): number | undefined {
    const slot = this.#slots.find((one) => userAddress >= one.userAddress && userAddress - one.userAddress < one.size)
    return slot && slot.guestAddress + (userAddress - slot.userAddress)
  }

  /** Lets go of everything that was removed. Nobody may be in the middle of using it. */
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
        if (ends[i][0] < ends[i - 1][1]) throw new VhostUserError('regions overlap in the front-end')
      }
      const bytes = slots.reduce((sum, { size }) => sum + size, 0)
      if (bytes > MAX_BYTES) throw new VhostUserError(`${bytes} bytes of memory`)
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

/** The descriptor is closed where this fails. */
function openSlot(region: MemoryRegionMessage, descriptor: Descriptor): Slot {
  const { guestAddress, userAddress, mmapOffset } = region
  // Views are of whole words; what is left over no driver uses.
  const size = region.size - (region.size % 4)
  if (region.size > MAX_BYTES) {
    descriptor.close()
    throw new VhostUserError(`a region of ${region.size} bytes`)
  }
  for (const end of [guestAddress + region.size, userAddress + region.size, mmapOffset + region.size]) {
    if (!Number.isSafeInteger(end)) {
      descriptor.close()
      throw new VhostUserError(`a region that ends at ${end.toString(16)}`)
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
