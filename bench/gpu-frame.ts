import { guestMemoryOf, memfd, PAGE } from '../src/backends/buffers/testing/test-memory.ts'
import type { Descriptor } from '../src/host/linux/descriptor.ts'
import { fileExtents } from '../src/host/linux/udmabuf/file-extents.ts'
import type { FileExtent } from '../src/host/linux/udmabuf/protocol.ts'
import type { GuestMemory } from '../src/memory/guest-memory.ts'
import { ScatterList } from '../src/memory/scatter-list.ts'
import { SpanList } from '../src/memory/span-list.ts'
import { shuffle } from './random.ts'

/** How a guest's kernel may have found pages for a picture: pages that lie together. */
export const LAYOUTS = { 'one piece': Number.POSITIVE_INFINITY, 'runs of 8': 8, 'single pages': 1 } as const
export type Layout = keyof typeof LAYOUTS

/** What every byte of a picture is. */
const PIXEL = 1
/** How long is measured at least, in milliseconds. */
const MEASURE_MS = 20

export interface FrameSize {
  readonly width: number
  readonly height: number
}

export const sizeName = ({ width, height }: FrameSize): string => `${width}x${height}`
export const frameBytes = ({ width, height }: FrameSize): number => width * height * 4

/**
 * Pages of a picture among as many others, in an order that only the seed decides.
 *
 *     [run][others][run][others] ...          a run at each multiple of twice its length
 */
export function scatteredPages(pages: number, layout: Layout, random: () => number): [page: number, count: number][] {
  const run = Math.min(LAYOUTS[layout], pages)
  const count = Math.ceil(pages / run)
  const order = shuffle(
    Array.from({ length: count }, (_, i) => i),
    random,
  )
  // What is left of the last one comes last.
  return order.map((slot, i) => [slot * 2 * run, Math.min(run, pages - i * run)])
}

/** A picture in a guest's memory, which is a file, in each of the layouts; and room for a copy. */
export class Frame {
  /** Whole pages. */
  readonly bytes: number
  readonly target: Uint8Array
  readonly #file: Descriptor
  readonly #memory: { readonly memory: GuestMemory; close(): void }
  readonly #lists = new Map<Layout, ScatterList>()

  constructor(
    size: FrameSize,
    private readonly random: () => number,
  ) {
    this.bytes = Math.ceil(frameBytes(size) / PAGE) * PAGE
    const length = 2 * (this.pages + 8) * PAGE
    this.#file = memfd(length)
    this.#memory = guestMemoryOf([[0, this.#file, length]])
    this.#memory.memory.regions[0].u8.fill(PIXEL)
    this.target = new Uint8Array(this.bytes).fill(PIXEL)
  }

  get pages(): number {
    return this.bytes / PAGE
  }

  list(layout: Layout): ScatterList {
    let list = this.#lists.get(layout)
    if (!list) {
      list = new ScatterList(this.#memory.memory)
      for (const [page, count] of scatteredPages(this.pages, layout, this.random)) list.add(page * PAGE, count * PAGE)
      this.#lists.set(layout, list)
    }
    return list
  }

  extents(layout: Layout): FileExtent[] {
    const spans = new SpanList()
    const list = this.list(layout)
    list.locate(0, list.byteLength, spans)
    return fileExtents(spans)
  }

  close(): void {
    this.#memory.close()
    this.#file.close()
  }
}

/** Reads a byte of each page, as a consumer does first of all: those that are not mapped yet are then. */
export function touch(bytes: Uint8Array): void {
  let sum = 0
  for (let at = 0; at < bytes.length; at += PAGE) sum += bytes[at]
  if (sum !== (bytes.length / PAGE) * PIXEL) throw new Error(`${bytes.length} bytes are not the picture’s: ${sum}`)
}

/** Microseconds that something takes. */
export function timeOf(call: () => void): number {
  const began = performance.now()
  let elapsed = 0
  let calls = 0
  for (let step = 1; elapsed < MEASURE_MS; elapsed = performance.now() - began) {
    for (let i = 0; i < step; i++) call()
    calls += step
    if (elapsed < MEASURE_MS / 10) step *= 2
  }
  return (elapsed / calls) * 1000
}

/** Something that is made when it is first wanted, and closed once. */
export class Lazy<T extends { close(): void }> {
  #value: T | undefined

  constructor(private readonly make: () => T) {}

  get(): T {
    this.#value ??= this.make()
    return this.#value
  }

  close(): void {
    this.#value?.close()
    this.#value = undefined
  }
}
