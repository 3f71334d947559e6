import type { Bench, Variant } from './bench.ts'
import type { Figures, Row, Spread } from './figures.ts'
import { shuffle } from './random.ts'

/**
 * Measures all variants of a bench in turn, in another order each round.
 *
 * A machine that is slower for a while is slower for all of them: compare the ratios, which are taken within a round.
 */
export async function runRounds(
  bench: Bench,
  rounds: number,
  random: () => number,
  progress: (line: string) => void,
): Promise<Row[]> {
  const variants = bench.prepare(random)
  const results = new Map<Variant, Figures[]>(variants.map((variant) => [variant, []]))
  try {
    for (let round = 0; round <= rounds; round++) {
      // The first round is for the compiler, not for the record.
      progress(round === 0 ? 'warming up' : `round ${round} of ${rounds}`)
      for (const variant of shuffle(variants, random)) {
        const figures = await variant.measure()
        if (round > 0) results.get(variant)?.push(figures)
      }
    }
  } finally {
    for (const variant of variants) await variant.close?.()
  }
  const [column] = Object.keys(bench.columns)
  return variants.map((variant) => {
    const measured = results.get(variant) ?? []
    const first = variants.find(({ group }) => group === variant.group) ?? variant
    const baseline = results.get(first) ?? []
    return {
      variant: variant.name,
      group: variant.group,
      figures: Object.fromEntries(
        Object.keys(bench.columns).map((name) => [name, spread(measured.map((figures) => figures[name]))]),
      ),
      ratio: spread(measured.map((figures, round) => figures[column] / baseline[round][column])).median,
    }
  })
}

function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return {
    median: sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2,
    lowest: sorted[0],
    highest: sorted[sorted.length - 1],
  }
}
