import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { runProgram } from '../../src/guest-image/debian/program.ts'
import { qemuTools, type RunningDevice, scratchFolder, startDevice, toolsMissing } from './device-program.ts'

const MIB = 1 << 20
const folder = scratchFolder()
const skip = toolsMissing ?? false

function image(name: string, content: Uint8Array): string {
  const file = path.join(folder, name)
  writeFileSync(file, content)
  return file
}

interface ServedDisk extends RunningDevice {
  /** For `--image-opts`. */
  readonly client: string
}

async function serve(file: string, ...options: readonly string[]): Promise<ServedDisk> {
  const socket = `${file}.sock`
  const device = await startDevice(['block', `--socket-path=${socket}`, `--blk-file=${file}`, ...options])
  return { ...device, client: `driver=virtio-blk-vhost-user,path=${socket},cache.direct=on` }
}

async function io(client: string, commands: readonly string[], ...options: readonly string[]): Promise<string> {
  const each = commands.flatMap((command) => ['-c', command])
  return await runProgram(qemuTools().io, [...options, '--image-opts', client, ...each])
}

async function identical(client: string, file: string): Promise<void> {
  const said = await runProgram(qemuTools().img, ['compare', '--image-opts', client, `driver=file,filename=${file}`])
  assert.match(said, /Images are identical/)
}

for (const options of [[], ['--direct']]) {
  const how = options.length > 0 ? 'direct I/O' : 'the page cache'
  test(`image and device are identical after random writes, through ${how}`, { skip }, async () => {
    const expected = randomBytes(8 * MIB)
    const file = image(`random${options.length}.img`, expected)
    const disk = await serve(file, ...options)
    try {
      await identical(disk.client, file)
      const write = fc.record({
        sector: fc.nat({ max: expected.length / 512 - 1 }),
        sectors: fc.integer({ min: 1, max: 600 }),
        pattern: fc.integer({ min: 1, max: 255 }),
        zero: fc.boolean(),
      })
      const run = fc.asyncProperty(fc.array(write, { minLength: 20, maxLength: 40 }), async (writes) => {
        const commands = writes.map(({ sector, sectors, pattern, zero }) => {
          const start = sector * 512
          const end = Math.min(start + sectors * 512, expected.length)
          expected.fill(zero ? 0 : pattern, start, end)
          return `${zero ? 'write -z' : `write -P ${pattern}`} ${start} ${end - start}`
        })
        await io(disk.client, [...commands, 'flush'])
        assert.ok(readFileSync(file).equals(expected), 'the image is not what was written')
        await identical(disk.client, file)
      })
      await fc.assert(run, { numRuns: 3, endOnFailure: true })
    } finally {
      assert.equal(await disk.stop(), 0, disk.log.join('\n'))
    }
  })
}

test('many parallel requests read the right data', { skip }, async () => {
  const content = randomBytes(16 * MIB)
  const file = image('bench.img', content)
  const disk = await serve(file)
  try {
    const bench = [
      'bench',
      '-c',
      '20000',
      '-d',
      '64',
      '-s',
      '4096',
      '-S',
      '8192',
      '-t',
      'none',
      '--image-opts',
      disk.client,
    ]
    assert.match(await runProgram(qemuTools().img, bench), /Run completed/)
    const writes = ['bench', '-w', '--pattern=90', '-c', '2000', '-d', '64', '-s', '4096', '-t', 'none']
    assert.match(await runProgram(qemuTools().img, [...writes, '--image-opts', disk.client]), /Run completed/)
    const expected = Buffer.from(content)
    expected.fill(90, 0, 2000 * 4096)
    assert.ok(readFileSync(file).equals(expected))
  } finally {
    await disk.stop()
  }
})

test('a discarded range releases its blocks to the file system', { skip }, async () => {
  const file = image('discard.img', randomBytes(4 * MIB))
  const before = statSync(file).blocks
  const disk = await serve(file)
  try {
    await io(disk.client, [`discard ${MIB} ${2 * MIB}`, 'flush'])
  } finally {
    await disk.stop()
  }
  assert.ok(statSync(file).blocks < before, 'no block was released')
})

test('a read-only disk refuses writes, and can be read', { skip }, async () => {
  const content = randomBytes(MIB)
  const file = image('read-only.img', content)
  const disk = await serve(file, '--read-only')
  try {
    await identical(`${disk.client},read-only=on`, file)
    await assert.rejects(io(disk.client, ['write 0 512']))
    assert.ok(readFileSync(file).equals(content))
  } finally {
    await disk.stop()
  }
})

test('after SIGHUP, the next client sees the new size of a grown disk', { skip }, async () => {
  const file = image('growing.img', new Uint8Array(MIB))
  const disk = await serve(file)
  try {
    assert.match(await io(disk.client, ['length']), /^1 MiB/m)
    truncateSync(file, 3 * MIB)
    disk.child.kill('SIGHUP')
    assert.match(await io(disk.client, ['length']), /^3 MiB/m)
  } finally {
    await disk.stop()
  }
})
