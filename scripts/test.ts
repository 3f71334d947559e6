/**
 * `npm test [-- PART...]`: runs every `*.test.ts` of the project, or those whose path holds one of the given parts.
 *
 * A slow test runs only where a part names it whole: `npm test -- udmabuf/nested`.
 *
 * First the tests that need nothing but Node, then those with a guest or a browser, which take longer. Programs that
 * they need and this machine does not have are fetched. What could not run is listed at the end with the reason; where
 * `CI` is set that is a failure.
 */
import { readdirSync } from 'node:fs'
import path from 'node:path'
import { run } from 'node:test'
import { spec } from 'node:test/reporters'
import { fileURLToPath } from 'node:url'
import { AMD64_IMAGE, I386_IMAGE } from '../src/catalogue/guest-images.ts'
import { prepareUefi } from '../src/engines/qemu/firmware.ts'
import { prepareQemu, prepareQemuTools } from '../src/engines/qemu/qemu.ts'
import { removeBootedGuest, saveBootedGuest } from '../src/engines/v86/booted-guest.ts'
import { createV86Machine } from '../src/engines/v86/machine.ts'
import { findGuestImage, prepareGuestImage } from '../src/guest-image/guest-image.ts'
import { IMPORTING_IMAGE } from '../test/qemu/importing-image.ts'
import { prepareTools, SMALL_TOOLS, TOOLS } from '../test/tools/tools.ts'
import { UDMABUF_IMAGE } from '../test/udmabuf/udmabuf-image.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
/** Minutes each, for what others test a part of. */
const SLOW = ['udmabuf/nested']

/** Compiled test files below a source folder, from the sources: a stale file in dist is none. */
function testFiles(folder: string, wanted: readonly string[]): string[] {
  return readdirSync(path.join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.test.ts'))
    .filter((file) => SLOW.every((slow) => file !== `${slow}.test.ts` || wanted.includes(slow)))
    .map((file) => path.join(folder, file))
    .filter((file) => wanted.length === 0 || wanted.some((part) => file.includes(part)))
    .sort()
    .map((file) => path.join(ROOT, 'dist', file.replace(/\.ts$/, '.js')))
}

interface Outcome {
  passed: number
  failed: number
  readonly skipped: string[]
}

function runTests(files: readonly string[], outcome: Outcome): Promise<void> {
  return new Promise((resolve, reject) => {
    const events = run({ files: [...files], concurrency: 2, timeout: 15 * 60_000 })
    events.on('test:pass', (event) => {
      if (event.skip !== undefined) outcome.skipped.push(`${event.name}: ${event.skip === true ? '' : event.skip}`)
      else outcome.passed++
    })
    events.on('test:fail', () => {
      outcome.failed++
    })
    const report = events.compose(new spec())
    report.on('end', resolve).on('error', reject)
    report.pipe(process.stdout, { end: false })
  })
}

/** Boots the standard guest once, with the code of today: the tests of guests start from its snapshot. */
async function bootStandardGuest(): Promise<void> {
  const image = findGuestImage(I386_IMAGE)
  if (!image) return
  await removeBootedGuest(image)
  process.stdout.write('booting the guest from which tests start\n')
  const machine = createV86Machine(image)
  try {
    await machine.start()
    await saveBootedGuest(image, machine)
  } finally {
    await machine.stop()
  }
}

/** Fetches what the guests boot from and what runs them, so that no test waits for the network. */
async function fetchAll(): Promise<void> {
  await fetch('guest image', (onStep) => prepareGuestImage(I386_IMAGE, { onProgress: ({ step }) => onStep(step) }))
  await fetch('guest image for QEMU', (onStep) =>
    prepareGuestImage(AMD64_IMAGE, { onProgress: ({ step }) => onStep(step) }),
  )
  await fetch('guest image with udmabuf', (onStep) =>
    prepareGuestImage(UDMABUF_IMAGE, { onProgress: ({ step }) => onStep(step) }),
  )
  await fetch('importing guest image', (onStep) =>
    prepareGuestImage(IMPORTING_IMAGE, { onProgress: ({ step }) => onStep(step) }),
  )
  await fetch('QEMU', (onStep) => prepareQemu('vhost-user', { onProgress: onStep }))
  await fetch('QEMU', (onStep) => prepareQemuTools({ onProgress: onStep }))
  await fetch('OVMF', (onStep) => prepareUefi({ onProgress: onStep }))
}

async function fetch(what: string, prepare: (onStep: (step: string) => void) => Promise<unknown>): Promise<void> {
  let last = ''
  try {
    await prepare((step) => {
      if (step !== last) process.stdout.write(`${what}: ${step}\n`)
      last = step
    })
  } catch (error) {
    process.stdout.write(`${what}: ${error instanceof Error ? error.message : error}\n`)
  }
}

process.env['NODE_OPTIONS'] = `${process.env['NODE_OPTIONS'] ?? ''} --enable-source-maps`
const wanted = process.argv.slice(2)
const outcome: Outcome = { passed: 0, failed: 0, skipped: [] }
const quick = [...testFiles('src', wanted), ...testFiles('examples', wanted)]
const whole = testFiles('test', wanted)
if (quick.length + whole.length === 0) {
  process.stderr.write(`no test file has ${wanted.join(' or ')} in its path\n`)
  process.exit(2)
}
await fetch('tools', (onStep) => prepareTools(whole.length > 0 ? TOOLS : SMALL_TOOLS, onStep))
if (quick.length > 0) await runTests(quick, outcome)
if (whole.length > 0) {
  await fetchAll()
  await fetch('booted guest', bootStandardGuest)
  await runTests(whole, outcome)
}

if (outcome.skipped.length > 0) {
  process.stdout.write(`\nNOT TESTED HERE (${outcome.skipped.length}):\n`)
  for (const line of outcome.skipped) process.stdout.write(`  - ${line}\n`)
  if (process.env['CI']) process.stdout.write('In CI a skipped test is a failure.\n')
}
process.stdout.write(
  `\n${outcome.passed} passed, ${outcome.failed} failed${outcome.skipped.length > 0 ? `, ${outcome.skipped.length} skipped` : ''}\n`,
)
process.exit(outcome.failed > 0 || (process.env['CI'] && outcome.skipped.length > 0) ? 1 : 0)
