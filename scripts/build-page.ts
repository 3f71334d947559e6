/**
 * Bundles the page into `web/` beside the compiled scripts, and proves that the core bundles for a browser.
 * Runs in the project's root: `node dist/scripts/build-page.js`.
 */
import { copyFile, readdir } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const OUTPUT = fileURLToPath(new URL('../web/', import.meta.url))
/** Browsers of 2023 and later. */
const TARGET = 'es2023'

/** What must run without Node. */
const CORE = [
  'pending',
  'log',
  'memory',
  'virtqueue',
  'virtio',
  'pci',
  'services',
  'devices',
  'machine',
  'transport/virtio-pci',
]

async function bundlePage(): Promise<void> {
  await build({
    entryPoints: ['src/web/app.ts', 'src/web/app.css'],
    outdir: OUTPUT,
    bundle: true,
    format: 'esm',
    platform: 'browser',
    target: TARGET,
    minify: true,
    logLevel: 'warning',
  })
  for (const file of ['index.html', 'icon.svg']) await copyFile(`src/web/${file}`, `${OUTPUT}${file}`)
}

/** Fails on any import of Node's modules from the core, however it gets there. */
async function proveCoreIsBrowserSafe(): Promise<void> {
  const imports: string[] = []
  for (const layer of CORE) {
    const files = await readdir(`src/${layer}`, { recursive: true })
    const product = files.filter((file) => file.endsWith('.ts') && !/\.test\.ts$|(^|\/)testing\//.test(file))
    for (const file of product.sort()) imports.push(`export * as m${imports.length} from './src/${layer}/${file}'`)
  }
  await build({
    stdin: { contents: imports.join('\n'), resolveDir: '.', sourcefile: 'core' },
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'browser',
    target: TARGET,
    logLevel: 'warning',
  })
}

await bundlePage()
await proveCoreIsBrowserSafe()
