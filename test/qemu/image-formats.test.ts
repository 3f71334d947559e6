import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import fc from 'fast-check'
import { ImageFormat } from '../../src/backends/disk/image-format.ts'
import { pattern } from '../../src/devices/virtio/block/testing/driver-requests.ts'
import { runProgram } from '../../src/guest-image/debian/program.ts'
import { until } from '../until.ts'
import { MAIN, qemuTools, type RunningDevice, scratchFolder, startDevice, toolsMissing } from './device-program.ts'

const MIB = 1 << 20
const folder = scratchFolder()
const skip = toolsMissing ?? false
const run = promisify(execFile)

const file = (name: string): string => path.join(folder, name)

async function img(...args: readonly string[]): Promise<string> {
  return await runProgram(qemuTools().img, args)
}

interface ServedImage extends RunningDevice {
  /** For `--image-opts`. */
  readonly client: string
}

async function serve(image: string, ...options: readonly string[]): Promise<ServedImage> {
  const socket = `${image}.sock`
  const device = await startDevice(['block', `--socket-path=${socket}`, `--blk-file=${image}`, ...options])
  return { ...device, client: `driver=virtio-blk-vhost-user,path=${socket},cache.direct=on` }
}

async function io(client: string, ...commands: readonly string[]): Promise<string> {
  return await runProgram(qemuTools().io, ['--image-opts', client, ...commands.flatMap((command) => ['-c', command])])
}

/** Returns the only child of a device process. */
function childOf({ child }: RunningDevice): number {
  const [pid, ...others] = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').trim().split(' ')
  assert.deepEqual(others, [])
  return Number(pid)
}

function isGone(pid: number): boolean {
  try {
    return /^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return true
  }
}

for (const options of [[], ['--direct']]) {
  const how = options.length > 0 ? 'direct I/O' : 'the page cache'
  test(`a qcow2 image over a backing file contains the written data, through ${how}`, { skip }, async () => {
    const expected = Buffer.from(pattern(4 * MIB, 1))
    const base = file(`base${options.length}.img`)
    const image = file(`random${options.length}.qcow2`)
    writeFileSync(base, expected)
    await img('create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', base, image, '8M')
    const whole = Buffer.concat([expected, Buffer.alloc(4 * MIB)])
    const disk = await serve(image, '--format=qcow2', ...options)
    const write = fc.record({
      sector: fc.nat({ max: whole.length / 512 - 1 }),
      sectors: fc.integer({ min: 1, max: 600 }),
      value: fc.integer({ min: 1, max: 255 }),
      zero: fc.boolean(),
    })
    try {
      const writes = fc.asyncProperty(fc.array(write, { minLength: 20, maxLength: 40 }), async (all) => {
        const commands = all.map(({ sector, sectors, value, zero }) => {
          const start = sector * 512
          const end = Math.min(start + sectors * 512, whole.length)
          whole.fill(zero ? 0 : value, start, end)
          return `${zero ? 'write -z' : `write -P ${value}`} ${start} ${end - start}`
        })
        await io(disk.client, ...commands, 'flush')
        writeFileSync(file('expected.img'), whole)
        const same = await img('compare', '--image-opts', disk.client, `driver=file,filename=${file('expected.img')}`)
        assert.match(same, /Images are identical/)
      })
      await fc.assert(writes, { numRuns: 3, endOnFailure: true })
    } finally {
      assert.equal(await disk.stop(), 0, disk.log.join('\n'))
    }
    assert.match(await img('check', '-f', 'qcow2', image), /No errors/)
    assert.match(await img('compare', '-f', 'qcow2', '-F', 'raw', image, file('expected.img')), /Images are identical/)
    assert.ok(readFileSync(base).equals(expected), 'the backing file changed')
  })
}

for (const format of Object.values(ImageFormat)) {
  test(`an image of format ${format} can be read and written, also by many parallel requests`, {
    skip,
  }, async () => {
    const content = file(`content.${format}.img`)
    const image = file(`any.${format}`)
    writeFileSync(content, pattern(4 * MIB, 2))
    await img('convert', '-f', 'raw', '-O', format, content, image)
    const disk = await serve(image, `--format=${format}`)
    try {
      const bench = ['bench', '-w', '--pattern=90', '-c', '400', '-d', '64', '-s', '4096', '-t', 'none', '--image-opts']
      assert.match(await img(...bench, disk.client), /Run completed/)
      assert.match(await io(disk.client, 'read -P 90 0 1638400'), /read 1638400/)
    } finally {
      assert.equal(await disk.stop(), 0, disk.log.join('\n'))
    }
    const expected = pattern(4 * MIB, 2).fill(90, 0, 400 * 4096)
    await img('convert', '-f', format, '-O', 'raw', image, content)
    assert.ok(Buffer.compare(readFileSync(content).subarray(0, expected.length), expected) === 0)
  })
}

test('discarded ranges take no space in the image', { skip }, async () => {
  const image = file('discard.qcow2')
  await img('create', '-q', '-f', 'qcow2', image, '8M')
  const disk = await serve(image, '--format=qcow2')
  try {
    await io(disk.client, 'write -P 1 0 8M', 'flush', 'discard 0 4M', 'flush', 'read -P 1 4M 4M')
  } finally {
    await disk.stop()
  }
  const { 'actual-size': bytes } = JSON.parse(await img('info', '--output=json', '-f', 'qcow2', image))
  assert.ok(bytes < 6 * MIB, `${bytes} bytes are taken`)
})

test('a read-only image refuses writes, and is not changed', { skip }, async () => {
  const image = file('read-only.qcow2')
  await img('create', '-q', '-f', 'qcow2', image, '1M')
  const before = readFileSync(image)
  const disk = await serve(image, '--format=qcow2', '--read-only')
  try {
    const raw = file('zeroes.img')
    writeFileSync(raw, new Uint8Array(MIB))
    const same = await img('compare', '--image-opts', `${disk.client},read-only=on`, `driver=file,filename=${raw}`)
    assert.match(same, /Images are identical/)
    await assert.rejects(io(disk.client, 'write 0 512'))
  } finally {
    assert.equal(await disk.stop(), 0, disk.log.join('\n'))
  }
  assert.ok(readFileSync(image).equals(before))
})

test('kill -9 of the server under load: requests fail at once, with one log line', { skip }, async () => {
  const image = file('killed.qcow2')
  await img('create', '-q', '-f', 'qcow2', image, '64M')
  const disk = await serve(image, '--format=qcow2')
  const bench = ['bench', '-w', '-c', '10000000', '-d', '64', '-s', '4096', '-t', 'none', '--image-opts', disk.client]
  const { command, args, env } = qemuTools().img
  const load = spawn(command, [...args, ...bench], { env: { ...process.env, ...env }, stdio: 'ignore' })
  const ended = once(load, 'exit')
  await until('the load writes', () => statSync(image).size > 4 * MIB)
  assert.equal(load.exitCode, null, 'the load did not last')
  process.kill(childOf(disk), 'SIGKILL')
  const [status] = await ended
  assert.equal(status, 1)
  await assert.rejects(io(disk.client, 'read 0 512'))
  assert.equal(
    disk.log.filter((line) => line.includes('connection to the image server lost')).length,
    1,
    disk.log.join('\n'),
  )
  // It says that something may be lost.
  assert.equal(await disk.stop(), 2)
  assert.match(
    disk.log.at(-1) ?? '',
    /killed\.qcow2: data that the guest wrote may be lost: connection to the image server lost/,
  )
})

test('kill -9 of the device: its server exits too, and leaves an image without errors', { skip }, async () => {
  const image = file('orphan.qcow2')
  await img('create', '-q', '-f', 'qcow2', image, '8M')
  const disk = await serve(image, '--format=qcow2')
  await io(disk.client, 'write -P 3 0 2M', 'flush')
  const server = childOf(disk)
  disk.child.kill('SIGKILL')
  await until('the server is gone', () => isGone(server))
  assert.match(await img('check', '-f', 'qcow2', image), /No errors/)
  const again = await serve(image, '--format=qcow2')
  assert.match(await io(again.client, 'read -P 3 0 2M'), /read 2097152/)
  assert.equal(await again.stop(), 0)
})

test('a raw disk that looks like an image is served as raw bytes, with a warning', { skip }, async () => {
  const image = file('looks-like.img')
  await img('create', '-q', '-f', 'qcow2', image, '64M')
  const disk = await serve(image)
  try {
    assert.doesNotMatch(await io(disk.client, 'length'), /^64 MiB/m)
    assert.match(disk.log.join('\n'), /looks-like\.img begins like an image of format qcow2 .* --format qcow2/)
  } finally {
    await disk.stop()
  }
  const silent = await serve(image, '--format=raw')
  assert.doesNotMatch(silent.log.join('\n'), /begins like/)
  await silent.stop()
})

test('an image that is missing, in use or of another format results in one line and exit code 2', {
  skip,
}, async () => {
  const image = file('used,with=comma.qcow2')
  await img('create', '-q', '-f', 'qcow2', image, '1M')
  writeFileSync(file('not.qcow2'), Buffer.alloc(4096, 'x'))
  const disk = await serve(image, '--format=qcow2')
  const cases: [string, RegExp][] = [
    [image, /another process using the image/],
    [file('missing.qcow2'), /no disk image .*missing\.qcow2: create it/],
    [file('not.qcow2'), /not in qcow2 format/],
    [folder, /regular file|directory/],
  ]
  try {
    for (const [name, says] of cases) {
      const args = [MAIN, 'device', 'block', `--socket-path=${file('x.sock')}`, `--blk-file=${name}`, '--format=qcow2']
      const failed = await run(process.execPath, args).catch((error) => error)
      assert.equal(failed.code, 2, failed.stderr)
      assert.match(failed.stderr, says)
      assert.equal(failed.stderr.trim().split('\n').length, 1, failed.stderr)
    }
  } finally {
    assert.equal(await disk.stop(), 0, disk.log.join('\n'))
  }
})
