import assert from 'node:assert/strict'
import { execFile, execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { loadKinds } from '../../src/catalogue/index.ts'
import { runProgram } from '../../src/guest-image/debian/program.ts'
import { ffiMissing } from '../../src/host/linux/ffi.ts'
import { UnixListener } from '../../src/host/linux/unix-listener.ts'
import { MAIN, qemuTools, scratchFolder, startDevice, toolsMissing } from './device-program.ts'

const ROOT = fileURLToPath(new URL('../../..', import.meta.url))
const run = promisify(execFile)
const folder = scratchFolder()
const skip = ffiMissing() ?? false
const disk = path.join(folder, 'disk.img')
writeFileSync(disk, '')
truncateSync(disk, 1 << 20)

/** Types of the kinds of devices, in QEMU's vhost-user.json and in the same way for further ones. */
const TYPES = Object.fromEntries((await loadKinds()).map(({ name, vhostUser }) => [name, vhostUser.type]))

test('--print-capabilities takes precedence over other options  @vhost-user Backend program conventions', async () => {
  for (const [kind, type] of Object.entries(TYPES)) {
    const { stdout } = await run(process.execPath, [MAIN, 'device', kind, '--fd=7', '--print-capabilities', '--more'])
    const capabilities = JSON.parse(stdout)
    assert.equal(capabilities.type, type)
    assert.ok(Array.isArray(capabilities.features))
  }
  const { stdout } = await run(process.execPath, [MAIN, 'device', 'block', '--print-capabilities'])
  assert.deepEqual(JSON.parse(stdout).features, ['blk-file', 'read-only'])
})

test('SIGTERM ends a device with exit code 0, and removes its socket', { skip }, async () => {
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    const socket = path.join(folder, `${signal}.sock`)
    const device = await startDevice(['entropy', `--socket-path=${socket}`])
    assert.ok(existsSync(socket))
    assert.equal(await device.stop(signal), 0, device.log.join('\n'))
    assert.ok(!existsSync(socket))
  }
})

test('an invalid option results in one line and exit code 2', { skip }, async () => {
  const cases: [string[], RegExp][] = [
    [['block', '--socket-path=x.sock'], /name the disk/],
    [['block', '--socket-path=x.sock', '--blk-file=missing.img'], /no disk image missing\.img/],
    [['entropy'], /give a socket/],
    [['entropy', '--socket-path=none/x.sock'], /folder of none\/x\.sock/],
    [['entropy', '--fd=99'], /descriptor 99 is not a socket/],
    [['input', '--socket-path=x.sock', '--kind=mouse'], /--kind/],
    [['net', '--socket-path=x.sock'], /name one network: --tap/],
    [['net', '--socket-path=x.sock', '--tap=tap0', '--passt'], /name one network/],
    [['net', '--socket-path=x.sock', '--passt', '--queue-pairs=2'], /--queue-pairs is for --tap/],
    [['net', '--socket-path=x.sock', '--tap=a name too long to be'], /not a valid interface name/],
    [['net', '--socket-path=x.sock', '--passt', '--mac=01:00:00:00:00:00'], /--mac.* not the address of one station/],
    [['toaster'], /unknown command/],
  ]
  for (const [args, says] of cases) {
    const failed = await run(process.execPath, [MAIN, 'device', ...args], { cwd: folder }).catch((error) => error)
    assert.equal(failed.code, 2, `${args}: ${failed.stderr}`)
    assert.match(failed.stderr, says)
    assert.equal(failed.stderr.trim().split('\n').length, 1, failed.stderr)
    assert.ok(!existsSync(path.join(folder, 'x.sock')), `${args} left its socket`)
  }
})

test('a log can have one JSON object per line', { skip }, async () => {
  const device = await startDevice(['entropy', `--socket-path=${path.join(folder, 'json.sock')}`, '--log-format=json'])
  assert.equal(await device.stop(), 0)
  for (const line of device.log) assert.equal(JSON.parse(line).device, 'entropy')
})

test('systemd passes a listening socket, and starts the device at the first connection', {
  skip: toolsMissing ?? false,
}, async () => {
  const socket = path.join(folder, 'activated.sock')
  const listener = UnixListener.listen(socket)
  const client = runProgram(qemuTools().img, [
    ...['compare', '--image-opts', `driver=virtio-blk-vhost-user,path=${socket},cache.direct=on`],
    `driver=file,filename=${disk}`,
  ])
  const script = 'LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"'
  const child = spawn('sh', ['-c', script, 'sh', process.execPath, MAIN, 'device', 'block', `--blk-file=${disk}`], {
    stdio: ['ignore', 'ignore', 'ignore', listener.fd],
  })
  assert.match(await client, /identical/)
  const status = new Promise((resolve) => child.on('exit', resolve))
  child.kill('SIGTERM')
  assert.equal(await status, 0)
  listener.close()
})

test('management software finds the installed devices, and can start them', async () => {
  const prefix = path.join(folder, 'prefix')
  mkdirSync(prefix)
  execFileSync(path.join(ROOT, 'packaging/install'), [prefix], { stdio: 'ignore' })
  const descriptions = path.join(prefix, 'share/qemu/vhost-user')
  const names = readdirSync(descriptions)
  assert.deepEqual(
    names,
    Object.values(TYPES)
      .sort()
      .map((type) => `50-outboard-${type}.json`),
  )
  for (const name of names) {
    const { description, type, binary, ...rest } = JSON.parse(readFileSync(path.join(descriptions, name), 'utf8'))
    assert.equal(typeof description, 'string')
    assert.deepEqual(Object.keys(rest), ['tags'])
    assert.ok(path.isAbsolute(binary))
    const { stdout } = await run(binary, ['--print-capabilities'])
    assert.equal(JSON.parse(stdout).type, type)
  }
})
