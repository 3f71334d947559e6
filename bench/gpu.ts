import type { Bench } from './bench.ts'
import { bufferRows } from './gpu-buffer-rows.ts'
import { concludeGpu } from './gpu-conclusions.ts'
import { damageRows, flipRows } from './gpu-device-rows.ts'
import { findDriver } from './gpu-driver.ts'
import { measureInGuest } from './gpu-elsewhere.ts'
import { frameRows, SIZES } from './gpu-frame-rows.ts'
import { plotGpu } from './gpu-plot.ts'

export const gpuBench: Bench = {
  name: 'gpu',
  summary: 'a guest’s pictures on the host: copied, in a linear view, as dma-bufs; by size, pieces and damage',
  columns: {
    time: 'microseconds a frame, or a buffer',
    copied: 'bytes copied a frame: in frames of the GPU, as the device counts them',
    made: 'buffers made in 1000 frames',
    pieces: 'pieces the picture is in, once neighbours are one',
  },
  prepare(random) {
    const driver = findDriver()
    return [
      ...SIZES.flatMap((size) =>
        frameRows(size, random, driver, (what) => process.stderr.write(`gpu: over the driver’s limits: ${what}\n`)),
      ),
      ...bufferRows(random, driver),
      ...damageRows(random, driver),
      ...flipRows(random, driver),
    ]
  },
  elsewhere: async (rounds, seed, progress) => (findDriver() ? undefined : measureInGuest(rounds, seed, progress)),
  conclude: concludeGpu,
  plot: plotGpu,
}
