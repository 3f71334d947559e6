import { type Pages, replaceWithZeroes, unmap } from '../address-space.ts'
import { memoryAt } from '../ffi.ts'

/** Limit of one view in bytes. Views of more than 4 GiB end the process. */
export const MAX_VIEW_BYTES = 1 << 30

/** Unmaps the address space when no view of it can be reached. */
const unreachable = new FinalizationRegistry<Pages>(unmap)

/** Mapped pages as bytes. The view owns the pages; after `close`, its bytes are zeroes. */
export class PageView {
  readonly bytes: Uint8Array
  #open = true

  /** @param pages at most `MAX_VIEW_BYTES` */
  constructor(
    private readonly pages: Pages,
    private readonly what: string,
  ) {
    const buffer = memoryAt(pages.address, pages.length)
    unreachable.register(buffer, pages)
    this.bytes = new Uint8Array(buffer)
  }

  close(): void {
    if (this.#open) replaceWithZeroes(`unmapping ${this.what}`, this.pages)
    this.#open = false
  }
}
