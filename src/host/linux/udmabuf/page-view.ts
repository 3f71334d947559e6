import { type Pages, replaceWithZeroes, unmap } from '../address-space.ts'
import { memoryAt } from '../ffi.ts'

/** Larger views are no use to anyone, and those of more than 4 GiB end the process. */
export const MAX_VIEW_BYTES = 1 << 30

/** Address space goes back to the system when nothing here can touch it any more. */
const unreachable = new FinalizationRegistry<Pages>(unmap)

/** Mapped pages as bytes. It owns the pages; after `close`, whoever kept the bytes sees zeroes. */
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
