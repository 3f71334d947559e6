import type { Elsewhere } from './bench.ts'
import type { Report } from './figures.ts'
import { frameBytes, sizeName } from './gpu-frame.ts'
import { frameGroup, SIZES } from './gpu-frame-rows.ts'
import { type Line, logPlot, type Panel } from './plot.ts'

const LINES: readonly Omit<Line, 'points'>[] = [
  { name: 'memcpy', colour: 0 },
  { name: 'copy out of single pages', colour: 1 },
  { name: 'linear view of single pages, made', colour: 2 },
  { name: 'linear view, kept', colour: 2, dashed: true },
  { name: 'dma-buf of single pages, made and imported', colour: 3 },
  { name: 'dma-buf, kept', colour: 3, dashed: true },
]

/** What a picture costs by its size. */
export function plotGpu(here: Report, elsewhere: Elsewhere | undefined): string {
  const panels = [panel(`This machine: ${here.machine.processor}, Node ${here.machine.node}`, here)]
  if (elsewhere) panels.push(panel('A guest with the real driver, on an emulated processor', elsewhere.report))
  return logPlot(panels, {
    title: 'What a guest’s picture costs on the host by its size: copied, in a linear view, as a dma-buf',
    x: 'a picture of four bytes a pixel',
    y: 'time a frame',
    ticks: SIZES.map((size) => ({ at: frameBytes(size), label: sizeName(size) })),
  })
}

function panel(title: string, { rows }: Report): Panel {
  const lines = LINES.map((line) => ({
    ...line,
    points: SIZES.flatMap((size) => {
      const row = rows.find(({ group, variant }) => group === frameGroup(size) && variant === line.name)
      return row ? [[frameBytes(size), row.figures['time'].median] as const] : []
    }),
  }))
  return { title, lines: lines.filter(({ points }) => points.length > 0) }
}
