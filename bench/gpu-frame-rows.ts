import { LinearView } from '../src/backends/buffers/linear-view.ts'
import { PAGE } from '../src/backends/buffers/testing/test-memory.ts'
import type { DmaBuf } from '../src/host/linux/udmabuf/dma-buf.ts'
import { DmaBufAccess } from '../src/host/linux/udmabuf/protocol.ts'
import type { Variant } from './bench.ts'
import type { Driver } from './gpu-driver.ts'
import { Frame, type FrameSize, frameBytes, LAYOUTS, type Layout, Lazy, sizeName, timeOf, touch } from './gpu-frame.ts'

export const SIZES: readonly FrameSize[] = [
  { width: 64, height: 64 },
  { width: 256, height: 256 },
  { width: 640, height: 480 },
  { width: 1280, height: 720 },
  { width: 1920, height: 1080 },
  { width: 2560, height: 1440 },
  { width: 3840, height: 2160 },
  { width: 7680, height: 4320 },
]

/** A way to have a whole picture as one run of bytes. */
interface Way {
  readonly name: string
  readonly layout: Layout
  /** Whether the bytes are copied, or where they are is mapped: once, or each time. */
  readonly cost: 'copy' | 'keep' | 'make'
  /** Whether its run of bytes is a dma-buf, which has limits. */
  readonly dmaBuf?: true
  prepare(frame: Frame): Work
}

interface Work {
  readonly run: () => void
  readonly close?: () => void
}

const names = Object.keys(LAYOUTS) as Layout[]
/** The worst a guest can do, and something between. */
const SCATTERED: readonly Layout[] = ['runs of 8', 'single pages']

const COPIES: readonly Way[] = [
  {
    name: 'memcpy',
    layout: 'one piece',
    cost: 'copy',
    prepare(frame) {
      const source = frame.list('one piece').linear(0, frame.bytes)
      if (!source) throw new Error('one piece is more than one')
      return { run: () => frame.target.set(source) }
    },
  },
  ...SCATTERED.map(
    (layout): Way => ({
      name: `memcpy of ${layout}`,
      layout,
      cost: 'copy',
      prepare(frame) {
        const { regions, offsets, lengths, count } = frame.list(layout).spans
        const pieces = Array.from({ length: count }, (_, i) =>
          regions[i].u8.subarray(offsets[i], offsets[i] + lengths[i]),
        )
        return {
          run() {
            let at = 0
            for (const piece of pieces) {
              frame.target.set(piece, at)
              at += piece.length
            }
          },
        }
      },
    }),
  ),
  ...names.map(
    (layout): Way => ({
      name: `copy out of ${layout}`,
      layout,
      cost: 'copy',
      prepare(frame) {
        const list = frame.list(layout)
        return { run: () => list.read(0, frame.target) }
      },
    }),
  ),
  {
    name: 'copy out of a linear view',
    layout: 'single pages',
    cost: 'copy',
    prepare(frame) {
      const view = linearView(frame, 'single pages')
      return { run: () => frame.target.set(view.bytes), close: () => view.close() }
    },
  },
]

const LINEAR: readonly Way[] = [
  ...SCATTERED.map(
    (layout): Way => ({
      name: `linear view of ${layout}, made`,
      layout,
      cost: 'make',
      prepare: (frame) => ({
        run() {
          const view = linearView(frame, layout)
          touch(view.bytes)
          view.close()
        },
      }),
    }),
  ),
  {
    name: 'linear view, kept',
    layout: 'single pages',
    cost: 'keep',
    prepare(frame) {
      const view = linearView(frame, 'single pages')
      return { run: () => touch(view.bytes), close: () => view.close() }
    },
  },
]

function dmaBufWays({ udmabuf, importer }: Driver): Way[] {
  const make = (frame: Frame, layout: Layout) => udmabuf.create(frame.extents(layout), 'a picture')
  const made = (name: string, layout: Layout, use: (buffer: DmaBuf) => void): Way => ({
    name: `dma-buf of ${layout}, made and ${name}`,
    layout,
    cost: 'make',
    dmaBuf: true,
    prepare: (frame) => ({
      run() {
        const buffer = make(frame, layout)
        use(buffer)
        buffer.close()
      },
    }),
  })
  return [
    ...SCATTERED.flatMap((layout) => [
      made('imported', layout, (buffer) => importer.closeHandle(importer.import(buffer))),
      made('mapped', layout, ({ bytes }) => touch(bytes)),
    ]),
    {
      name: 'dma-buf, kept',
      layout: 'single pages',
      cost: 'keep',
      dmaBuf: true,
      prepare(frame) {
        const buffer = make(frame, 'single pages')
        return {
          run() {
            buffer.beginAccess(DmaBufAccess.READ)
            touch(buffer.bytes)
            buffer.endAccess(DmaBufAccess.READ)
          },
          close: () => buffer.close(),
        }
      },
    },
  ]
}

function linearView(frame: Frame, layout: Layout): LinearView {
  return LinearView.of(frame.extents(layout), 'a picture', 'linear views are measured')
}

export const frameGroup = (size: FrameSize): string => `frame ${sizeName(size)}`

/** @param leaveOut receives what the driver is not allowed to make */
export function frameRows(
  size: FrameSize,
  random: () => number,
  driver: Driver | undefined,
  leaveOut: (what: string) => void,
): Variant[] {
  const frame = new Lazy(() => new Frame(size, random))
  const ways = [...COPIES, ...LINEAR, ...(driver ? dmaBufWays(driver) : [])]
  const allowed = ways.filter(({ name, layout, dmaBuf }) => {
    if (!dmaBuf || !driver) return true
    const { pieces, bytes } = driver.udmabuf.limits
    const wanted = Math.ceil(frameBytes(size) / PAGE / LAYOUTS[layout])
    const fits = wanted <= Math.max(1, pieces) && frameBytes(size) <= bytes
    if (!fits) leaveOut(`${frameGroup(size)}: ${name}`)
    return fits
  })
  return allowed.map((way) => variant(way, size, frame))
}

function variant({ name, layout, cost, prepare }: Way, size: FrameSize, frame: Lazy<Frame>): Variant {
  return {
    group: frameGroup(size),
    name,
    async measure() {
      // Not kept from round to round: a process has no room for so many mappings.
      const work = prepare(frame.get())
      // What is copied has been used before, and so has what is kept.
      if (cost !== 'make') work.run()
      const time = timeOf(work.run)
      work.close?.()
      return {
        time,
        copied: cost === 'copy' ? frame.get().bytes : 0,
        made: cost === 'make' ? 1000 : 0,
        pieces: frame.get().list(layout).segmentCount,
      }
    },
    close: async () => frame.close(),
  }
}
