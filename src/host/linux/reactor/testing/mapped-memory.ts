import { type MappedRegion, Mapping } from '../../mapping.ts'
import { MemoryFile } from '../../memory-file.ts'

/** Creates guest memory that the kernel can access. Its address is a multiple of 64 KiB. */
export function mappedMemory(size: number): { readonly region: MappedRegion; close(): void } {
  const mapping = Mapping.of(MemoryFile.create('guest memory', size).descriptor, { offset: 0, length: size })
  const [region] = mapping.regions(0x10_0000)
  return { region, close: () => mapping.close() }
}
