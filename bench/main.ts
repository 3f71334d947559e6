/** `npm run bench -- NAME`: measures one thing, prints one report. docs/bench.md tells how to read it. */
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import type { Bench } from './bench.ts'
import { blockBench } from './block.ts'
import { thinkBench } from './block-think.ts'
import { gpuBench } from './gpu.ts'
import { describeBench, formatReport, measureBench } from './report.ts'
import { screenBench } from './screen.ts'
import { transportBench } from './transport.ts'
import { virtqueueBench } from './virtqueue.ts'

const BENCHES: readonly Bench[] = [virtqueueBench, screenBench, blockBench, thinkBench, transportBench, gpuBench]
const USAGE_ERROR = 2

const HELP = `Usage: npm run bench -- NAME [options]

Measures how fast a part of Outboard is on this machine. Variants take turns within one run; the figures are medians.

Benches:
${BENCHES.map(describeBench).join('\n')}

Options:
  --json        the whole report as JSON instead of a table of medians
  --rounds N    how often each variant is measured (default 7)
  --plot FILE   writes the figures as a picture (SVG), where the bench draws one
  --no-guest    leaves out what a bench measures in a guest, for lack of it on this machine
  --seed N      repeats a run: order of the variants, placement of buffers (default: another one each time)
  --help        this text

Examples:
  npm run bench -- virtqueue
  npm run bench -- virtqueue --rounds 15 --seed 1
  npm run --silent bench -- virtqueue --json > virtqueue.json
  npm run bench -- gpu --plot gpu.svg
`

class UsageError extends Error {}

function naturalNumber(option: string, text: string, least: number): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || value < least || value > 0xffff_ffff) {
    throw new UsageError(`--${option} wants a whole number from ${least}, not '${text}'`)
  }
  return value
}

function readArguments() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        json: { type: 'boolean', default: false },
        rounds: { type: 'string', default: '7' },
        seed: { type: 'string' },
        plot: { type: 'string' },
        'no-guest': { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    })
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error))
  }
}

async function main(): Promise<void> {
  const { values, positionals } = readArguments()
  if (values.help) {
    process.stdout.write(HELP)
    return
  }
  const bench = BENCHES.find((one) => one.name === positionals[0])
  if (!bench || positionals.length !== 1) {
    const known = BENCHES.map((one) => one.name).join(', ')
    throw new UsageError(
      positionals.length === 1 ? `no bench '${positionals[0]}': there is ${known}` : `which one? ${known}`,
    )
  }
  const rounds = naturalNumber('rounds', values.rounds, 1)
  const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 32) : naturalNumber('seed', values.seed, 0)
  if (values.plot !== undefined && !bench.plot) throw new UsageError(`'${bench.name}' draws no picture`)
  const progress = (line: string) => void process.stderr.write(`${bench.name}: ${line}\n`)
  const report = await measureBench(bench, rounds, seed, progress)
  const elsewhere = values['no-guest'] ? undefined : await bench.elsewhere?.(rounds, seed, progress)
  if (typeof elsewhere === 'string') progress(`NOT MEASURED: ${elsewhere}`)
  const other = typeof elsewhere === 'object' ? elsewhere : undefined
  if (values.json) {
    process.stdout.write(`${JSON.stringify({ ...report, elsewhere: elsewhere ?? null }, null, 2)}\n`)
  } else {
    process.stdout.write(formatReport(report))
    if (other) process.stdout.write(`\n${other.where}\n${formatReport(other.report)}`)
  }
  if (values.plot !== undefined && bench.plot) writeFileSync(values.plot, bench.plot(report, other))
}

try {
  await main()
} catch (error) {
  if (!(error instanceof UsageError)) throw error
  process.stderr.write(`bench: ${error.message}; see --help\n`)
  process.exitCode = USAGE_ERROR
}
