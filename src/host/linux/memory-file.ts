import { fstatSync, ftruncateSync } from 'node:fs'
import { Descriptor } from './descriptor.ts'
import { fallocate } from './fallocate.ts'
import { systemCall } from './system-call.ts'

const MFD_CLOEXEC = 1
const MFD_ALLOW_SEALING = 2
const MFD_HUGETLB = 4
/** Above it is the binary logarithm of the size of huge pages. */
const MFD_HUGE_SHIFT = 26
const F_ADD_SEALS = 1033
const F_GET_SEALS = 1034

/** What a memory file promises not to do any more; memfd_create(2). */
export const Seal = {
  SEAL: 1,
  SHRINK: 2,
  GROW: 4,
  WRITE: 8,
} as const

const memfdCreate = systemCall<[name: Uint8Array, flags: number]>('int memfd_create(const void *name, uint32_t flags)')
const fcntl = systemCall<[fd: number, command: number, value: number]>('int fcntl(int fd, int command, int64_t value)')

/**
 * Memory that has a descriptor, so that other processes can map it too.
 *
 *     const file = MemoryFile.create('guest memory', 1 << 30)
 *     stream.send(message, [file.descriptor])
 *     const mapping = Mapping.of(file.descriptor, { offset: 0, length: file.size })    // which owns it from now on
 */
export class MemoryFile {
  private constructor(
    readonly descriptor: Descriptor,
    readonly size: number,
  ) {}

  /**
   * A new one, of zeroes, that stays as long as it is: a peer can neither shrink nor grow it.
   * @param name what the system's lists of mappings show
   * @param hugePage of how many bytes its pages are, where not ordinary ones; all of them are taken at once, since touching one
   *   that there is none left for would end the process
   */
  static create(name: string, size: number, hugePage?: number): MemoryFile {
    const bytes = new TextEncoder().encode(`${name}\0`)
    const pages = hugePage === undefined ? 0 : MFD_HUGETLB | (Math.log2(hugePage) << MFD_HUGE_SHIFT)
    const fd = memfdCreate(`making memory for ${name}`, bytes, MFD_CLOEXEC | MFD_ALLOW_SEALING | pages)
    const descriptor = new Descriptor(fd, name)
    try {
      ftruncateSync(fd, size)
      if (hugePage !== undefined) fallocate(`taking huge pages for ${name}`, fd, 0, 0, size)
      fcntl(`sealing ${name}`, fd, F_ADD_SEALS, Seal.SHRINK | Seal.GROW)
    } catch (error) {
      descriptor.close()
      throw error
    }
    return new MemoryFile(descriptor, size)
  }

  /** One made elsewhere. It owns the descriptor from now on. */
  static fromDescriptor(descriptor: Descriptor): MemoryFile {
    return new MemoryFile(descriptor, fstatSync(descriptor.fd).size)
  }

  /** Its seals, as a sum of `Seal`. */
  get seals(): number {
    return sealsOf(this.descriptor)
  }

  close(): void {
    this.descriptor.close()
  }
}

/** Seals of any file, which it borrows. One that cannot be sealed has none. */
export function sealsOf(descriptor: Descriptor): number {
  try {
    return fcntl(`reading the seals of ${descriptor.what}`, descriptor.fd, F_GET_SEALS, 0)
  } catch {
    return 0
  }
}
