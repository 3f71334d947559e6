/** The package for its users: packed, installed in an empty project, type-checked and run. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { build } from 'esbuild'
import { guestMissing } from '../guest/guest.ts'

const ROOT = fileURLToPath(new URL('../../..', import.meta.url))
const run = promisify(execFile)
const project = mkdtempSync(path.join(tmpdir(), 'outboard-package-'))
after(() => rmSync(project, { recursive: true }))

/** Makes an empty project with strict settings, and a program for each entry of the package. */
const FILES = {
  'package.json': JSON.stringify({ name: 'empty', type: 'module', private: true }),
  'tsconfig.json': JSON.stringify({
    compilerOptions: {
      strict: true,
      exactOptionalPropertyTypes: true,
      module: 'nodenext',
      types: ['node'],
    },
  }),
  'index.ts': `
    import { EntropyDevice, type VirtioDevice } from 'outboard'
    import { createReactor, DiskFile, FrameClient, serveVhostUser, UnixListener } from 'outboard/linux'
    import { createV86Machine, prepareGuestImage } from 'outboard/node'
    import { activateDevice } from 'outboard/testing'

    const device: VirtioDevice = new EntropyDevice({ fill: (bytes) => bytes.fill(7) })
    const { written, bytes } = activateDevice(device).send(0, [], [16])
    console.log(written, bytes[15], typeof serveVhostUser)
    // @ts-expect-error: types are known
    export const wrong: number = device
    export const used = [createReactor, createV86Machine, DiskFile, FrameClient, prepareGuestImage, UnixListener]
  `,
}

interface PackedFile {
  readonly path: string
}
let packed: readonly PackedFile[] = []

/** Runs a program in the project. @returns its output */
async function inProject(command: string, ...args: readonly string[]): Promise<string> {
  // npm's variables for its scripts, of which this test is one, are removed.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('npm_')))
  try {
    const { stdout } = await run(command, args, { cwd: project, env })
    return stdout
  } catch (error) {
    const { stdout, stderr } = error as { readonly stdout?: string; readonly stderr?: string }
    throw new Error(`${command} ${args.join(' ')}: ${stdout}${stderr}`, { cause: error })
  }
}

before(async () => {
  for (const [name, text] of Object.entries(FILES)) writeFileSync(path.join(project, name), text)
  const [report] = JSON.parse(
    await inProject('npm', 'pack', ROOT, '--ignore-scripts', '--json', `--pack-destination=${project}`),
  )
  packed = report.files
  const quietly = ['--prefer-offline', '--no-audit', '--no-fund']
  await inProject('npm', 'install', ...quietly, `./${report.filename}`)
})

test('the package contains only the product', () => {
  const names = packed.map((file) => file.path)
  const other = names.filter((name) => !/^(dist\/(src|web)\/|README.md$|LICENSE$|package.json$)/.test(name))
  assert.deepEqual(other, [])
  const testing = names.filter((name) => /\.test\.|\/testing\//.test(name))
  const exported = /^dist\/src\/virtio\/testing\/(device-rig|contract\/[a-z-]+)\.(d\.ts|js|js\.map)$/
  assert.deepEqual(
    testing.filter((name) => !exported.test(name)),
    [],
  )
  assert.ok(testing.length > 0)
})

test('every source map that a module names is in the package, with its sources', () => {
  const installed = path.join(project, 'node_modules/outboard')
  const modules = packed.map((file) => file.path).filter((name) => /^dist\/src\/.*\.js$/.test(name))
  assert.ok(modules.length > 300)
  for (const name of modules) {
    const [, map] = /^\/\/# sourceMappingURL=(.+)$/m.exec(readFileSync(path.join(installed, name), 'utf8')) ?? []
    assert.ok(map, name)
    const { sources, sourcesContent } = JSON.parse(readFileSync(path.join(installed, path.dirname(name), map), 'utf8'))
    assert.equal(sourcesContent?.length, sources.length, name)
  }
})

test('a bundle for browsers can contain the devices, and no modules that need Node', async () => {
  const bundle = (entry: string): Promise<unknown> =>
    build({
      stdin: { contents: `export * from '${entry}'`, resolveDir: project },
      ...{ bundle: true, write: false, platform: 'browser', format: 'esm', logLevel: 'silent' },
    })
  await bundle('outboard')
  await bundle('outboard/testing')
  await assert.rejects(bundle('outboard/node'), /outboard\/node/)
  await assert.rejects(bundle('outboard/linux'), /outboard\/linux/)
})

test('a program with the strictest settings compiles with the types of the package, and runs', async () => {
  const modules = path.join(ROOT, 'node_modules')
  await inProject(
    process.execPath,
    path.join(modules, 'typescript/bin/tsc'),
    ...['--project', '.', '--typeRoots', path.join(modules, '@types')],
  )
  assert.equal(await inProject(process.execPath, 'index.js'), '16 7 function\n')
})

test('the command of the package runs a guest', { skip: guestMissing('v86') ?? false }, async () => {
  const command = path.join(project, 'node_modules/.bin/outboard')
  assert.match(await inProject(command, '--version'), /^\d+\.\d+\.\d+\n$/)
  assert.match(await inProject(command, 'device', 'block', '--print-capabilities'), /"type": "block"/)
  assert.equal(await inProject(command, 'run', '--display', 'none', '--exec', 'echo hello'), 'hello\n')
})
