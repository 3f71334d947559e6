import { existsSync, readFileSync } from 'node:fs'
import { LinearView } from '../src/backends/buffers/linear-view.ts'
import { MemfdFlag, memfd, PAGE, pagesOf } from '../src/backends/buffers/testing/test-memory.ts'
import { Seal } from '../src/host/linux/memory-file.ts'
import type { FileExtent } from '../src/host/linux/udmabuf/protocol.ts'
import type { Variant } from './bench.ts'
import type { Driver } from './gpu-driver.ts'
import { Lazy, scatteredPages, timeOf } from './gpu-frame.ts'

/** Pages of a buffer; the driver takes 1024 pieces by default. */
const PAGES = [1, 4, 16, 64, 256, 1024]
const HUGE_PAGE = 2 << 20
const MAX_BYTES = 1024 * PAGE

/** What making a buffer costs by how many pieces it is in, without any use of it. */
export function bufferRows(random: () => number, driver: Driver | undefined): Variant[] {
  const small = new Lazy(() => memfd(2 * MAX_BYTES))
  const huge = new Lazy(() =>
    memfd(MAX_BYTES, Seal.SHRINK, MemfdFlag.CLOEXEC | MemfdFlag.ALLOW_SEALING | MemfdFlag.HUGETLB),
  )
  const files = [small, huge]
  return PAGES.flatMap((pages) => {
    const scattered = new Lazy(() => ({
      extents: scatteredPages(pages, 'single pages', random).map(([page, count]) => pagesOf(small.get(), page, count)),
      close() {},
    }))
    const row = (name: string, pieces: number, make: () => { close(): void }): Variant => ({
      group: `a buffer of ${pages} ${pages === 1 ? 'page' : 'pages'}`,
      name,
      measure: async () => ({ time: timeOf(() => make().close()), copied: 0, made: 1000, pieces }),
      async close() {
        for (const file of files) file.close()
      },
    })
    const linear = (extents: readonly FileExtent[]) => LinearView.of(extents, 'a buffer', 'linear views are measured')
    const rows = [
      row('linear view, one piece', 1, () => linear([pagesOf(small.get(), 0, pages)])),
      row('linear view, single pages', pages, () => linear(scattered.get().extents)),
    ]
    if (!driver) return rows
    const dmaBuf = (extents: readonly FileExtent[]) => driver.udmabuf.create(extents, 'a buffer')
    rows.push(
      row('dma-buf, one piece', 1, () => dmaBuf([pagesOf(small.get(), 0, pages)])),
      row('dma-buf, single pages', pages, () => dmaBuf(scattered.get().extents)),
    )
    if (hasHugePages()) rows.push(row('dma-buf, of huge pages', 1, () => dmaBuf([pagesOf(huge.get(), 0, pages)])))
    return rows
  })
}

/** Enough of 2 MiB each. */
function hasHugePages(): boolean {
  const folder = `/sys/kernel/mm/hugepages/hugepages-${HUGE_PAGE >> 10}kB`
  return existsSync(folder) && Number(readFileSync(`${folder}/free_hugepages`, 'latin1')) * HUGE_PAGE >= MAX_BYTES
}
