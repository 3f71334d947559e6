import type { Row } from './figures.ts'
import { type FrameSize, frameBytes, sizeName } from './gpu-frame.ts'
import { frameGroup, SIZES } from './gpu-frame-rows.ts'

const LAYOUTS = ['runs of 8', 'single pages']
/** A copy that is so many times a memcpy is one. */
const AS_GOOD = 1.2

/** What the figures say of the goals, of where one way becomes cheaper than another, and of when a buffer has paid. */
export function concludeGpu(rows: readonly Row[]): string[] {
  const figures = new Figures(rows)
  return [...copies(figures), ...crossings(figures), ...payments(figures), ...goals(rows)]
}

/** Medians of the frames, by size and name. */
class Figures {
  readonly #rows: ReadonlyMap<string, Row>

  constructor(rows: readonly Row[]) {
    this.#rows = new Map(rows.map((row) => [`${row.group}: ${row.variant}`, row]))
  }

  /** Of each size that has them all. */
  times(...names: string[]): Times {
    return SIZES.flatMap((size) => {
      const rows = this.#of(size, names)
      const times = rows.map(({ figures }) => figures['time'].median)
      return rows.length === names.length ? [{ size: sizeName(size), bytes: frameBytes(size), times }] : []
    })
  }

  /** How many times as long one takes as another, of each size that has both: by their ratios within rounds. */
  ratios(name: string, other: string): { readonly size: string; readonly ratio: number }[] {
    return SIZES.flatMap((size) => {
      const [a, b] = this.#of(size, [name, other])
      return a && b ? [{ size: sizeName(size), ratio: a.ratio / b.ratio }] : []
    })
  }

  #of(size: FrameSize, names: readonly string[]): Row[] {
    return names.flatMap((name) => this.#rows.get(`${frameGroup(size)}: ${name}`) ?? [])
  }
}

type Times = readonly { readonly size: string; readonly bytes: number; readonly times: readonly number[] }[]

function copies(figures: Figures): string[] {
  const pairs = [
    ['copy out of one piece', 'memcpy'],
    ['copy out of a linear view', 'memcpy'],
    ...LAYOUTS.map((layout) => [`copy out of ${layout}`, `memcpy of ${layout}`]),
  ]
  return pairs.map(([copy, plain]) => {
    const ratios = figures.ratios(copy, plain)
    const worse = ratios.filter(({ ratio }) => ratio > AS_GOOD).map(({ size }) => size)
    const within = worse.length === 0 ? 'within a fifth' : `NOT within a fifth: ${worse.join(', ')}`
    return `${copy}, of ${plain}: ${ratios.map(({ ratio }) => ratio.toFixed(2)).join(' ')} (${within})`
  })
}

function crossings(figures: Figures): string[] {
  return LAYOUTS.flatMap((layout) =>
    [
      `linear view of ${layout}, made`,
      `dma-buf of ${layout}, made and imported`,
      `dma-buf of ${layout}, made and mapped`,
    ]
      .filter((made) => figures.times(made).length > 0)
      .map((made) => `${made}, against copying: ${crossing(figures.times(made, `copy out of ${layout}`))}`),
  )
}

/** Where the first becomes as cheap as the second, between two sizes on lines through the logarithms. */
function crossing(times: Times): string {
  const excess = times.map(({ bytes, times: [a, b] }) => ({ bytes, log: Math.log(a / b) }))
  const after = excess.findIndex(({ log }) => log <= 0)
  if (after < 0) return `dearer at every size, ${shortRatio(Math.min(...excess.map(({ log }) => log)))} times at best`
  if (after === 0) return 'cheaper at every size'
  const [low, high] = [excess[after - 1], excess[after]]
  const part = low.log / (low.log - high.log)
  const bytes = Math.exp(Math.log(low.bytes) + part * Math.log(high.bytes / low.bytes))
  return `cheaper from ${(bytes / 1e6).toFixed(1)} MB on`
}

const shortRatio = (log: number): string => Math.exp(log).toFixed(1)

/** How many frames a buffer has to be kept for until making it cost less than copying them. */
function payments(figures: Figures): string[] {
  return [
    ['linear view of single pages, made', 'linear view, kept'],
    ['dma-buf of single pages, made and mapped', 'dma-buf, kept'],
  ]
    .map(([made, kept]) => ({ made, times: figures.times(made, kept, 'copy out of single pages') }))
    .filter(({ times }) => times.length > 0)
    .map(({ made, times }) => {
      const frames = times.map(({ size, times: [make, use, copy] }) => {
        return `${size} ${copy > use ? Math.ceil(make / (copy - use)) : 'never'}`
      })
      return `${made}: frames until it has paid: ${frames.join(', ')}`
    })
}

function goals(rows: readonly Row[]): string[] {
  const inPlace = rows.filter(({ variant }) => variant.endsWith('in place'))
  const copied = Math.max(...inPlace.map(({ figures }) => figures['copied'].highest))
  const flips = inPlace.filter(({ group }) => group?.includes('frames of'))
  return [
    `bytes copied a flush in place: at most ${copied}, by the device’s own counters`,
    ...flips.map(({ variant, group, figures }) => `${variant}: ${figures['made'].median} buffers made in ${group}`),
  ]
}
