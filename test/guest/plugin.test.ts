import assert from 'node:assert/strict'
import { execFile, execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { I386_IMAGE } from '../../src/catalogue/guest-images.ts'
import { createV86Machine } from '../../src/engines/v86/machine.ts'
import { findGuestImage } from '../../src/guest-image/guest-image.ts'
import { guestMissing } from './guest.ts'

const MAIN = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url))
const INSTALL = fileURLToPath(new URL('../../../packaging/install', import.meta.url))
const PLUGIN = fileURLToPath(new URL('../../examples/dice-kind.js', import.meta.url))
/** Reads from the second entropy device of the guest. */
const THROW = 'cd /sys/class/misc/hw_random; echo virtio_rng.1 > rng_current; head -c 4 /dev/hwrng | hexdump -C'

const folder = mkdtempSync(path.join(tmpdir(), 'outboard-plugin-'))
after(() => rmSync(folder, { recursive: true }))

function outboard(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [MAIN, '--plugin', PLUGIN, ...args], { encoding: 'utf8' })
}

test('a plug-in is one module, and its kind of device is a command with its options', () => {
  assert.match(outboard('device', '--help').stdout, /^ {2}dice .*a die that always shows the same number$/m)
  assert.match(outboard('device', '--list').stdout, /^dice\tdice\ta die that always shows the same number$/m)
  assert.match(outboard('device', 'dice', '--help').stdout, /--show <number> +what the die shows \(default: 4\)/)
  const { type } = JSON.parse(outboard('device', 'dice', '--print-capabilities').stdout)
  assert.equal(type, 'dice')
  const { status, stderr } = outboard('device', 'dice', '--show=7')
  assert.equal(status, 2)
  assert.match(stderr, /Give a whole number from 1 to 6\./)
})

test('doctor names the front-ends of a plug-in', () => {
  const checks: { transports?: Record<string, boolean> }[] = JSON.parse(outboard('doctor', '--json').stdout)
  const transports = checks.flatMap((check) => (check.transports ? [check.transports] : []))
  assert.ok(transports.length > 0)
  for (const one of transports) assert.ok('vhost-user-rng-device' in one)
})

test('management software finds the device of a plug-in, and starts it', () => {
  execFileSync(INSTALL, ['--plugin', PLUGIN, folder], { stdio: 'ignore' })
  const file = path.join(folder, 'share/qemu/vhost-user/50-outboard-dice.json')
  const { description, type, binary } = JSON.parse(readFileSync(file, 'utf8'))
  assert.equal(description, 'Outboard: a die that always shows the same number')
  assert.equal(type, 'dice')
  assert.equal(JSON.parse(execFileSync(binary, ['--print-capabilities'], { encoding: 'utf8' })).type, 'dice')
})

for (const engine of ['v86', 'qemu'] as const) {
  test(`a guest in ${engine} has the device of a plug-in`, { skip: guestMissing(engine) ?? false }, async () => {
    const args = ['--plugin', PLUGIN, 'run', '--engine', engine, '--device', 'dice,show=6', '--exec', THROW]
    const { stdout } = await promisify(execFile)(process.execPath, [MAIN, ...args])
    assert.match(stdout, /^00000000 +06 06 06 06 /)
  })
}

test('the inspector shows the device of a plug-in', { skip: guestMissing('v86') ?? false }, async () => {
  const image = findGuestImage(I386_IMAGE)
  assert.ok(image)
  const plugins = [new URL('../../examples/dice-kind.js', import.meta.url).href]
  const machine = createV86Machine({ ...image, plugins, devices: [{ kind: 'dice', settings: { show: '5' } }] })
  await machine.start()
  const { devices } = await machine.inspect()
  assert.equal(devices.at(-1)?.name, 'random-byte')
  await machine.stop()
})

test('a plug-in or a device that does not exist ends a command with one line', () => {
  const noFile = spawnSync(process.execPath, [MAIN, '--plugin', 'nowhere.js', 'device', '--list'], { encoding: 'utf8' })
  assert.equal(noFile.status, 2)
  assert.match(noFile.stderr, /^outboard: plug-in file:\/\/.*nowhere\.js cannot be loaded: .*\n$/)
  const noKind = outboard('run', '--device', 'coin')
  assert.equal(noKind.status, 2)
  assert.match(noKind.stderr, /^outboard: there is no kind of device coin: choose one of [a-z, ]*block, .*, dice\n$/)
  const noOption = outboard('run', '--device', 'dice,sides=8')
  assert.equal(noOption.status, 2)
  assert.match(noOption.stderr, /^outboard: there is no option sides; its options are show\n$/)
})
