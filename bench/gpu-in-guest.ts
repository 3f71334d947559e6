/** Runs the gpu bench in a guest that has the driver, and prints its report in a line. See gpu-elsewhere.ts. */
import { writeFileSync } from 'node:fs'
import { gpuBench } from './gpu.ts'
import { REPORT } from './gpu-elsewhere.ts'
import { measureBench } from './report.ts'

// What the driver takes, so that the largest pictures are measured, too.
for (const [limit, value] of [
  ['list_limit', 32_768],
  ['size_limit_mb', 256],
] as const) {
  writeFileSync(`/sys/module/udmabuf/parameters/${limit}`, `${value}`)
}
const { BENCH_ROUNDS, BENCH_SEED } = process.env
const report = await measureBench(gpuBench, Number(BENCH_ROUNDS), Number(BENCH_SEED), (line) => console.log(line))
const text = JSON.stringify(report)
// Short lines: what comes between two writes may be taken for the end of one.
for (let at = 0; at < text.length; at += 1000) console.log(`${REPORT}${text.slice(at, at + 1000)}`)
