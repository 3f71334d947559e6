/** A line of a plot. */
export interface Line {
  readonly name: string
  /** One of the plot's colours, from 0 on: what belongs together has the same. */
  readonly colour: number
  readonly dashed?: boolean
  /** In ascending order, all above 0. */
  readonly points: readonly (readonly [x: number, y: number])[]
}

/** One of several plots with the same axes. */
export interface Panel {
  readonly title: string
  readonly lines: readonly Line[]
}

export interface Axes {
  /** What it shows, for those who cannot see it. */
  readonly title: string
  readonly x: string
  readonly y: string
  readonly ticks: readonly { readonly at: number; readonly label: string }[]
}

const WIDTH = 990
const LEFT = 76
const RIGHT = 320
const TOP = 44
const PANEL_HEIGHT = 460
const BOTTOM = 78
/** Between names at the lines' ends. */
const NAME_HEIGHT = 15
/** On a light ground and on a dark one. */
const COLOURS = [
  ['#6b7280', '#9ca3af'],
  ['#c2410c', '#fb923c'],
  ['#1d4ed8', '#7aa2ff'],
  ['#15803d', '#4ade80'],
]

/** Plots with logarithmic axes, one below the other, as an SVG that is readable on light and on dark pages. */
export function logPlot(panels: readonly Panel[], axes: Axes): string {
  const height = panels.length * PANEL_HEIGHT
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="system-ui, sans-serif" font-size="12">`,
    `<title>${escaped(axes.title)}</title>`,
    `<style>${style()}</style>`,
    `<rect class="ground" width="${WIDTH}" height="${height}"/>`,
    ...panels.map((panel, i) => `<g transform="translate(0 ${i * PANEL_HEIGHT})">\n${drawPanel(panel, axes)}\n</g>`),
    '</svg>',
    '',
  ].join('\n')
}

function style(): string {
  const colours = (ground: number) =>
    COLOURS.map((pair, i) => `.c${i}{stroke:${pair[ground]}}.n${i}{fill:${pair[ground]}}`).join('')
  const light = `.ground{fill:#fff}text{fill:#1f2937}.grid{stroke:#e5e7eb}${colours(0)}`
  const dark = `.ground{fill:#0d1117}text{fill:#e5e7eb}.grid{stroke:#2d333b}${colours(1)}`
  return `.line{fill:none;stroke-width:2;stroke-linejoin:round}.dashed{stroke-dasharray:6 4}.title{font-weight:600;font-size:14px}${light}@media(prefers-color-scheme:dark){${dark}}`
}

function drawPanel({ title, lines }: Panel, axes: Axes): string {
  const ys = lines.flatMap(({ points }) => points.map(([, y]) => y))
  const [low, high] = [Math.floor(Math.log10(Math.min(...ys))), Math.ceil(Math.log10(Math.max(...ys)))]
  const [first, last] = [axes.ticks[0].at, axes.ticks[axes.ticks.length - 1].at]
  const [right, bottom] = [WIDTH - RIGHT, PANEL_HEIGHT - BOTTOM]
  const x = (value: number) => LEFT + (Math.log(value / first) / Math.log(last / first)) * (right - LEFT)
  const y = (value: number) => bottom - ((Math.log10(value) - low) / (high - low)) * (bottom - TOP)
  const decades = Array.from({ length: high - low + 1 }, (_, i) => 10 ** (low + i))
  return [
    text(LEFT, 24, title, 'title'),
    ...decades.flatMap((value) => [
      `<line class="grid" x1="${LEFT}" x2="${right}" y1="${fixed(y(value))}" y2="${fixed(y(value))}"/>`,
      text(LEFT - 8, y(value) + 4, duration(value), '', 'end'),
    ]),
    ...axes.ticks.flatMap(({ at, label }) => [
      `<line class="grid" x1="${fixed(x(at))}" x2="${fixed(x(at))}" y1="${TOP}" y2="${bottom}"/>`,
      `<text text-anchor="end" transform="translate(${fixed(x(at) + 4)} ${bottom + 14}) rotate(-35)">${escaped(label)}</text>`,
    ]),
    text((LEFT + right) / 2, PANEL_HEIGHT - 8, axes.x, '', 'middle'),
    `<text text-anchor="middle" transform="translate(16 ${(TOP + bottom) / 2}) rotate(-90)">${escaped(axes.y)}</text>`,
    ...lines.map(({ points, colour, dashed }) => {
      const path = points.map(([px, py]) => `${fixed(x(px))},${fixed(y(py))}`).join(' ')
      return `<polyline class="line c${colour}${dashed ? ' dashed' : ''}" points="${path}"/>`
    }),
    ...drawNames(lines, right, y),
  ].join('\n')
}

/** The names of lines where they end, moved apart where they would lie on each other. */
function drawNames(lines: readonly Line[], right: number, y: (value: number) => number): string[] {
  const ends = lines
    .map(({ name, colour, points }) => ({ name, colour, end: y(points[points.length - 1][1]) }))
    .sort((a, b) => a.end - b.end)
  let least = 0
  return ends.map(({ name, colour, end }) => {
    const at = Math.max(end, least)
    least = at + NAME_HEIGHT
    const mark = `<line class="c${colour}" x1="${right + 3}" x2="${right + 16}" y1="${fixed(end)}" y2="${fixed(at)}"/>`
    return `${mark}${text(right + 20, at + 4, name, `n${colour}`)}`
  })
}

function duration(microseconds: number): string {
  if (microseconds >= 1e6) return `${microseconds / 1e6} s`
  if (microseconds >= 1e3) return `${microseconds / 1e3} ms`
  return microseconds >= 1 ? `${microseconds} µs` : `${Math.round(microseconds * 1e3)} ns`
}

function text(x: number, y: number, content: string, kind = '', anchor = 'start'): string {
  const attributes = `${kind ? ` class="${kind}"` : ''}${anchor === 'start' ? '' : ` text-anchor="${anchor}"`}`
  return `<text x="${fixed(x)}" y="${fixed(y)}"${attributes}>${escaped(content)}</text>`
}

const fixed = (value: number): string => value.toFixed(1)

const escaped = (content: string): string =>
  content.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
