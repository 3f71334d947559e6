import { ftruncateSync, readdirSync, writeSync } from 'node:fs'
import { Descriptor } from '../../../host/linux/descriptor.ts'
import { Mapping } from '../../../host/linux/mapping.ts'
import { Seal } from '../../../host/linux/memory-file.ts'
import { systemCall } from '../../../host/linux/system-call.ts'
import type { FileExtent } from '../../../host/linux/udmabuf/protocol.ts'
import { GuestMemory } from '../../../memory/guest-memory.ts'
import { ScatterList } from '../../../memory/scatter-list.ts'
import { SpanList } from '../../../memory/span-list.ts'

export const PAGE = 4096

export const MemfdFlag = { CLOEXEC: 1, ALLOW_SEALING: 2, HUGETLB: 4 } as const
const F_ADD_SEALS = 1033

const memfdCreate = systemCall<[name: Uint8Array, flags: number]>('int memfd_create(const void *name, uint32_t flags)')
const fcntl = systemCall<[fd: number, command: number, value: number]>('int fcntl(int fd, int command, int64_t value)')
const dup = systemCall<[fd: number]>('int dup(int fd)')

/** A memory file of so many bytes, with whatever flags and seals a test is about. */
export function memfd(
  size: number,
  seals: number = Seal.SHRINK,
  flags: number = MemfdFlag.CLOEXEC | MemfdFlag.ALLOW_SEALING,
): Descriptor {
  const descriptor = new Descriptor(
    memfdCreate('a test', new TextEncoder().encode('a test\0'), flags),
    'a test’s memory',
  )
  ftruncateSync(descriptor.fd, size)
  if (seals !== 0) addSeals(descriptor, seals)
  return descriptor
}

export function addSeals({ fd }: Descriptor, seals: number): void {
  fcntl('a test', fd, F_ADD_SEALS, seals)
}

/** A memory file of pages that each begin with a letter of their own, from `first` on. */
export function letteredFile(pages: number, first = 'A'): Descriptor {
  const file = memfd(pages * PAGE)
  for (let page = 0; page < pages; page++) {
    writeSync(file.fd, Uint8Array.of(first.charCodeAt(0) + page), 0, 1, page * PAGE)
  }
  return file
}

/** What each page of a buffer begins with. */
export function lettersOf(bytes: Uint8Array): string {
  let letters = ''
  for (let at = 0; at < bytes.length; at += PAGE) letters += String.fromCharCode(bytes[at])
  return letters
}

export function pagesOf({ fd }: Descriptor, page: number, count = 1): FileExtent {
  return { fd, offset: page * PAGE, length: count * PAGE }
}

/** Guest memory in files, and what maps them. Each file has a base address; the descriptors stay the test's. */
export function guestMemoryOf(files: readonly (readonly [base: number, file: Descriptor, size: number])[]): {
  readonly memory: GuestMemory
  close(): void
} {
  const mappings = files.map(([, file, length]) =>
    Mapping.of(new Descriptor(dup('a test', file.fd), file.what), { offset: 0, length }),
  )
  const memory = new GuestMemory(mappings.flatMap((mapping, i) => mapping.regions(files[i][0])))
  return {
    memory,
    close: () => {
      for (const mapping of mappings) mapping.close()
    },
  }
}

/** Where the pieces of a driver's scatter list lie. */
export function spansOf(
  memory: GuestMemory,
  entries: readonly (readonly [address: number, length: number])[],
): SpanList {
  const list = new ScatterList(memory)
  for (const [address, length] of entries) list.add(address, length)
  const spans = new SpanList()
  list.locate(0, list.byteLength, spans)
  return spans
}

/** How many descriptors this process has; each look has one of its own, always. */
export function openDescriptors(): number {
  return readdirSync('/proc/self/fd').length
}
