import { fstatSync } from 'node:fs'
import type { Descriptor } from '../../host/linux/descriptor.ts'
import { type MappedRegion, Mapping, type MappingRange } from '../../host/linux/mapping.ts'

/** Maximum bytes of a file that is mapped as a whole. Larger files are not guest memory only. */
const MAX_WHOLE = 2 ** 42

/** Mapping, and the number of its parts in use. */
interface Shared {
  readonly mapping: Mapping
  /** Identity of the file; undefined if the mapping is for one region only. */
  readonly file: string | undefined
  users: number
}

/** Part of a file that is mapped. */
export interface SharedPart {
  regions(base: number): MappedRegion[]
  /** Releases a use. @returns the mapping to close, if this was the last use */
  release(): Mapping | undefined
}

/**
 * Files of guest memory. Each is mapped once as a whole, because firmware and IOMMUs make a client map and unmap parts
 * of the same file frequently.
 */
export class SharedFiles {
  readonly #byFile = new Map<string, Shared>()

  /** @param warn called for each mapping of a file that may shrink while it is in use */
  constructor(private readonly warn: (line: string) => void) {}

  /**
   * Opens a part of a file. Takes ownership of the descriptor, even if the call fails.
   * @throws {SystemCallError | RangeError}
   */
  open(descriptor: Descriptor, range: MappingRange): SharedPart {
    const shared = this.#find(descriptor, range)
    const { mapping, file } = shared
    const start = file === undefined ? 0 : range.offset
    shared.users++
    return {
      regions: (base) => mapping.regions(base, start, range.length),
      release: () => {
        if (--shared.users > 0) return undefined
        if (file !== undefined) this.#byFile.delete(file)
        return mapping
      },
    }
  }

  #find(descriptor: Descriptor, range: MappingRange): Shared {
    let whole: { readonly file: string; readonly size: number }
    try {
      const { dev, ino, size } = fstatSync(descriptor.fd)
      whole = { file: `${dev}:${ino}`, size }
    } catch (error) {
      descriptor.close()
      throw error
    }
    const end = range.offset + range.length
    if (range.private || whole.size > MAX_WHOLE || end > whole.size) return this.#map(descriptor, range)
    const known = this.#byFile.get(whole.file)
    if (known && end <= known.mapping.length) {
      descriptor.close()
      return known
    }
    const shared = this.#map(descriptor, { ...range, offset: 0, length: whole.size }, whole.file)
    this.#byFile.set(whole.file, shared)
    return shared
  }

  #map(descriptor: Descriptor, range: MappingRange, file?: string): Shared {
    const mapping = Mapping.of(descriptor, range)
    if (mapping.mayShrink !== undefined) this.warn(mapping.mayShrink)
    return { mapping, file, users: 0 }
  }
}
