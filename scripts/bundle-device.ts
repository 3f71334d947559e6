/**
 * Bundles the modules of device processes into few files, in place of `cli/device/device.js`: a hundred files take longer to load
 * than Node takes to start. Runs in the project's root after the compiler: `node dist/scripts/bundle-device.js`.
 */
import { readdir, rm } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const OUTPUT = fileURLToPath(new URL('../src/', import.meta.url))
/** Folder of the shared parts: that of the thread, which modules look for beside themselves. */
const PARTS = 'catalogue'

for (const file of await readdir(`${OUTPUT}${PARTS}`)) {
  if (/\.part\.js(\.map)?$/.test(file)) await rm(`${OUTPUT}${PARTS}/${file}`)
}
await build({
  entryPoints: ['src/cli/device/device.ts', 'src/catalogue/block-thread.ts'],
  outbase: 'src',
  outdir: OUTPUT,
  chunkNames: `${PARTS}/[name]-[hash].part`,
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  packages: 'external',
  sourcemap: true,
  logLevel: 'warning',
})
