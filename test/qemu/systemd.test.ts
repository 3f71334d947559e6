import assert from 'node:assert/strict'
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { BlkType } from '../../src/devices/virtio/block/protocol.ts'
import { ffiMissing } from '../../src/host/linux/ffi.ts'
import { UnixStream } from '../../src/host/linux/unix-stream.ts'
import { RemoteDriver } from '../../src/transport/vhost-user/testing/remote-driver.ts'
import { until } from '../until.ts'
import { MAIN, scratchFolder } from './device-program.ts'

const INSTALL = fileURLToPath(new URL('../../../packaging/install', import.meta.url))
const folder = scratchFolder()

/** Reason why a program of systemd cannot be run; false if it can. */
function missing(program: string): string | false {
  const there = spawnSync(program, ['--version'], { stdio: 'ignore' }).status === 0
  return there ? false : `there is no ${program}: apt-get install systemd`
}

test('a socket of systemd starts the disk at the first connection, and outlives it', {
  skip: ffiMissing() ?? missing('systemd-socket-activate'),
}, async () => {
  const image = path.join(folder, 'disk.img')
  const socket = path.join(folder, 'disk.sock')
  writeFileSync(image, new Uint8Array(1 << 20))
  const command = [process.execPath, MAIN, 'device', 'block', `--blk-file=${image}`]
  const child = spawn('systemd-socket-activate', ['--listen', socket, ...command], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let said = ''
  child.stderr.on('data', (bytes: Buffer) => {
    said += bytes
  })
  const ended = once(child, 'exit')
  await until('it listens', () => said.includes('Listening on'))
  for (const value of [1, 2]) {
    const driver = await RemoteDriver.start(UnixStream.connect(socket), { queues: 1, queueSize: 64 })
    const header = Uint8Array.of(BlkType.OUT, ...new Uint8Array(15))
    const [status] = await driver.request(0, [header, new Uint8Array(512).fill(value)], [1])
    assert.deepEqual(status, Uint8Array.of(0))
    driver.close()
    assert.equal(readFileSync(image)[0], value)
  }
  child.kill('SIGTERM')
  const [code] = await ended
  assert.equal(code, 0, said)
  assert.match(said, /ready, on /)
  assert.ok(existsSync(socket), 'the device removed the socket of systemd')
})

test('the installed units are valid, and their programs exist', {
  skip: missing('systemd-analyze'),
}, () => {
  const prefix = path.join(folder, 'prefix')
  mkdirSync(prefix)
  execFileSync(INSTALL, [prefix], { stdio: 'ignore' })
  const units = path.join(prefix, 'lib/systemd/system')
  const files = readdirSync(units).map((name) => path.join(units, name))
  assert.ok(files.length >= 2)
  const env = { ...process.env, SYSTEMD_UNIT_PATH: `${units}:` }
  const verified = spawnSync('systemd-analyze', ['verify', '--man=no', ...files], { env, encoding: 'utf8' })
  assert.equal(verified.stderr, '')
  assert.equal(verified.status, 0)
})
