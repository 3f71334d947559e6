import { fstatSync, ftruncateSync } from 'node:fs'
import { Descriptor } from './descriptor.ts'
import { FcntlCommand, fallocate, fcntl, memfdCreate } from './posix.ts'

const MFD_CLOEXEC = 1
const MFD_ALLOW_SEALING = 2
const MFD_HUGETLB = 4
/** Bit position of the binary logarithm of the huge page size in the flags. */
const MFD_HUGE_SHIFT = 26

/** Seals of a memory file: changes that are no longer possible; fcntl(2). */
export const Seal = {
  SEAL: 1,
  SHRINK: 2,
  GROW: 4,
  WRITE: 8,
} as const

/**
 * Memory with a descriptor (memfd), so that other processes can map it too.
 *
 *     const file = MemoryFile.create('guest memory', 1 << 30)
 *     stream.send(message, [file.descriptor])
 *     const mapping = Mapping.of(file.descriptor, { offset: 0, length: file.size })    // takes ownership of the descriptor
 */
export class MemoryFile {
  private constructor(
    readonly descriptor: Descriptor,
    readonly size: number,
  ) {}

  /**
   * Creates a file of zeroes that is sealed against shrinking and growing.
   * @param name shown in the system's lists of mappings
   * @param size in bytes
   * @param hugePage size of its huge pages in bytes. All pages are allocated at once, because an access to a page that
   *   cannot be allocated would end the process. @default ordinary pages
   */
  static create(name: string, size: number, hugePage?: number): MemoryFile {
    const bytes = new TextEncoder().encode(`${name}\0`)
    const pages = hugePage === undefined ? 0 : MFD_HUGETLB | (Math.log2(hugePage) << MFD_HUGE_SHIFT)
    const fd = memfdCreate(`creating memory for ${name}`, bytes, MFD_CLOEXEC | MFD_ALLOW_SEALING | pages)
    const descriptor = new Descriptor(fd, name)
    try {
      ftruncateSync(fd, size)
      if (hugePage !== undefined) fallocate(`allocating huge pages for ${name}`, fd, 0, 0, size)
      fcntl(`sealing ${name}`, fd, FcntlCommand.ADD_SEALS, Seal.SHRINK | Seal.GROW)
    } catch (error) {
      descriptor.close()
      throw error
    }
    return new MemoryFile(descriptor, size)
  }

  /** Wraps an existing memory file. Takes ownership of the descriptor. */
  static fromDescriptor(descriptor: Descriptor): MemoryFile {
    return new MemoryFile(descriptor, fstatSync(descriptor.fd).size)
  }

  /** Seals of the file: a sum of `Seal` values. */
  get seals(): number {
    return sealsOf(this.descriptor)
  }

  close(): void {
    this.descriptor.close()
  }
}

/** Seals of a file, which is borrowed; 0 if it does not support seals. */
export function sealsOf(descriptor: Descriptor): number {
  try {
    return fcntl(`reading the seals of ${descriptor.what}`, descriptor.fd, FcntlCommand.GET_SEALS, 0)
  } catch {
    return 0
  }
}
