/**
 * Part of `prepare`: makes `npx outboard` in this folder start what was built here.
 *
 * npm links commands of dependencies only; for one of the package itself, npx would install the package into its cache
 * first.
 */
import { chmodSync, mkdirSync, rmSync, symlinkSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const commands = fileURLToPath(new URL('../../node_modules/.bin/', import.meta.url))
const main = fileURLToPath(new URL('../src/cli/main.js', import.meta.url))

chmodSync(main, 0o755)
mkdirSync(commands, { recursive: true })
rmSync(`${commands}outboard`, { force: true })
symlinkSync('../../dist/src/cli/main.js', `${commands}outboard`)
