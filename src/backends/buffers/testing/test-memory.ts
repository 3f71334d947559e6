import { ftruncateSync, readdirSync, writeSync } from 'node:fs'
import { Descriptor } from '../../../host/linux/descriptor.ts'
import { Mapping } from '../../../host/linux/mapping.ts'
import { Seal } from '../../../host/linux/memory-file.ts'
import { dup, FcntlCommand, fcntl, memfdCreate } from '../../../host/linux/posix.ts'
import type { FileExtent } from '../../../host/linux/udmabuf/protocol.ts'
import { GuestMemory } from '../../../memory/guest-memory.ts'
import { ScatterList } from '../../../memory/scatter-list.ts'
import { SpanList } from '../../../memory/span-list.ts'

export const PAGE = 4096

export const MemfdFlag = { CLOEXEC: 1, ALLOW_SEALING: 2, HUGETLB: 4 } as const

/** Creates a memory file, by default sealed against shrinking and closed on exec. */
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
  fcntl('a test', fd, FcntlCommand.ADD_SEALS, seals)
}

/** Creates a memory file whose pages begin with consecutive letters, from `first`. */
export function letteredFile(pages: number, first = 'A'): Descriptor {
  const file = memfd(pages * PAGE)
  for (let page = 0; page < pages; page++) {
    writeSync(file.fd, Uint8Array.of(first.charCodeAt(0) + page), 0, 1, page * PAGE)
  }
  return file
}

/** Returns the first character of each page. */
export function lettersOf(bytes: Uint8Array): string {
  let letters = ''
  for (let at = 0; at < bytes.length; at += PAGE) letters += String.fromCharCode(bytes[at])
  return letters
}

export function pagesOf({ fd }: Descriptor, page: number, count = 1): FileExtent {
  return { fd, offset: page * PAGE, length: count * PAGE }
}

/** Creates guest memory in files, each at a base address. The test keeps the descriptors. */
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

/** Returns the spans of a driver's scatter list. */
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

/** Returns the number of open descriptors of this process. Reading it always uses one more. */
export function openDescriptors(): number {
  return readdirSync('/proc/self/fd').length
}
