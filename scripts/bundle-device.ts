/**
 * Joins the modules of device processes into few files, in the place of `cli/device/device.js`: a hundred files take
 * longer to load than Node takes to start. Runs in the project's root after the compiler: `node
 * dist/scripts/bundle-device.js`.
 */
import { readdir, rm } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const OUTPUT = fileURLToPath(new URL('../src/cli/device/', import.meta.url))

for (const file of await readdir(OUTPUT)) {
  if (/\.part\.js(\.map)?$/.test(file)) await rm(`${OUTPUT}${file}`)
}
await build({
  entryPoints: ['src/cli/device/device.ts', 'src/cli/device/block-thread.ts'],
  outdir: OUTPUT,
  // Beside the entries, since modules look for others beside themselves.
  chunkNames: '[name]-[hash].part',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  packages: 'external',
  sourcemap: true,
  logLevel: 'warning',
})
