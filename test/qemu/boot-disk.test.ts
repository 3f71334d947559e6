import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { truncateSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { type TestContext, test } from 'node:test'
import { promisify } from 'node:util'
import { runProgram } from '../../src/engines/qemu/program.ts'
import { fileInImage, ImageToolsMissing, makeBootableImage } from './bootable-image.ts'
import { MAIN, qemuTools, scratchFolder, toolsMissing } from './device-program.ts'
import { qemuMissing } from './guest.ts'

const folder = scratchFolder()
const skip = qemuMissing ?? toolsMissing ?? false
const run = promisify(execFile)

async function outboard(...args: readonly string[]): Promise<{ stdout: string; stderr: string }> {
  const common = ['--engine', 'qemu', '--display', 'none', '--net', 'none', '--timeout', '300']
  return await run(process.execPath, [MAIN, 'run', ...common, ...args])
}

/** A bootable image; undefined where the test is skipped for want of something. */
async function bootableImage(context: TestContext, name: string): Promise<string | undefined> {
  const file = path.join(folder, name)
  try {
    await makeBootableImage(file, 'proof=from-disk')
    return file
  } catch (error) {
    if (!(error instanceof ImageToolsMissing)) throw error
    context.skip(error.message)
    return undefined
  }
}

test('a qcow2 image of a whole disk boots by its own boot loader, and keeps what its guest wrote', {
  skip,
}, async (t) => {
  const raw = await bootableImage(t, 'whole.img')
  if (raw === undefined) return
  const image = path.join(folder, 'whole.qcow2')
  const { img } = qemuTools()
  await runProgram(img, ['convert', '-f', 'raw', '-O', 'qcow2', raw, image])
  const other = path.join(folder, 'other.img')
  writeFileSync(other, '')
  truncateSync(other, 1 << 20)
  const write = 'mkdir /disk && mount -t ext4 /dev/vda1 /disk && cp /proc/cmdline /disk/left-behind && umount /disk'
  const { stdout, stderr } = await outboard(
    ...['--boot', 'disk', '--disk', image, '--disk', other],
    ...['--exec', `cat /proc/cmdline && ${write} && cat /sys/block/vdb/size`],
  )
  assert.match(stdout, /^BOOT_IMAGE=\/boot\/kernel .*proof=from-disk\n2048\n$/, stderr)
  assert.match(stderr, /GRUB: booting from the disk/)
  assert.match(await runProgram(img, ['check', '-f', 'qcow2', image]), /No errors/)
  await runProgram(img, ['convert', '-f', 'qcow2', '-O', 'raw', image, raw])
  assert.match(fileInImage(raw, '/left-behind'), /^BOOT_IMAGE=.*proof=from-disk\n$/)
})

test('a disk of another format is found by its name, and refused where it cannot be', { skip }, async () => {
  const image = path.join(folder, 'data.qcow2')
  await runProgram(qemuTools().img, ['create', '-q', '-f', 'qcow2', image, '32M'])
  const { stdout } = await outboard(
    '--disk',
    `${image},readonly`,
    '--exec',
    'cat /sys/block/vda/size /sys/block/vda/ro',
  )
  assert.equal(stdout, '65536\n1\n')
  const inV86 = run(process.execPath, [MAIN, 'run', '--display', 'none', '--exec', 'true', '--disk', image])
  await assert.rejects(inV86, ({ code, stderr }) => code === 2 && /qcow2\) needs --engine qemu/.test(stderr))
})
