import { availableParallelism, cpus, loadavg } from 'node:os'
import type { Bench } from './bench.ts'
import type { Report } from './figures.ts'
import { seededRandom } from './random.ts'
import { runRounds } from './rounds.ts'

/** Runs a bench on this machine. */
export async function measureBench(
  bench: Bench,
  rounds: number,
  seed: number,
  progress: (line: string) => void,
): Promise<Report> {
  const before = loadNow()
  const rows = await runRounds(bench, rounds, seededRandom(seed), progress)
  return {
    bench: bench.name,
    columns: bench.columns,
    seed,
    rounds,
    machine: machineFacts(),
    load: [before, loadNow()],
    rows,
    conclusions: bench.conclude?.(rows) ?? [],
  }
}

function machineFacts(): Report['machine'] {
  return {
    processor: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
  }
}

const loadNow = (): number => Math.round(loadavg()[0] * 100) / 100

/** The report as a table of medians, for people. */
export function formatReport(report: Report): string {
  const { machine, columns } = report
  const names = Object.keys(columns)
  const table = [
    [report.bench, ...names, 'ratio'],
    ...report.rows.map((row) => [
      row.group === undefined ? row.variant : `${row.group}: ${row.variant}`,
      ...names.map((name) => formatNumber(row.figures[name].median)),
      row.ratio.toFixed(2),
    ]),
  ]
  const widths = table[0].map((_, column) => Math.max(...table.map((cells) => cells[column].length)))
  const lines = table.map((cells) =>
    cells
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column]) : cell.padStart(widths[column])))
      .join('  '),
  )
  const width = Math.max(...names.map((name) => name.length), 'ratio'.length)
  return [
    `${machine.processor}, ${machine.cores} cores, Node ${machine.node}, ${machine.platform}`,
    `load ${report.load[0]} before, ${report.load[1]} after; seed ${report.seed}; medians of ${report.rounds} rounds`,
    '',
    ...lines,
    '',
    ...names.map((name) => `${name.padEnd(width)}  ${columns[name]}`),
    `${'ratio'.padEnd(width)}  ${names[0]}, compared with ${baselineOf(report)} in the same round`,
    ...(report.conclusions.length > 0 ? ['', ...report.conclusions] : []),
    '',
  ].join('\n')
}

const baselineOf = ({ rows }: Report): string =>
  rows[0].group === undefined ? rows[0].variant : `the first of its group, ${rows[0].variant},`

function formatNumber(value: number): string {
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)} M`
  if (value >= 1e3) return `${(value / 1e3).toFixed(1)} k`
  return Number.isInteger(value) ? String(value) : value.toFixed(3)
}

/** What `--help` says of a bench. */
export const describeBench = (bench: Bench): string => `  ${bench.name.padEnd(12)}${bench.summary}`
