import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { truncateSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { type TestContext, test } from 'node:test'
import { promisify, stripVTControlCharacters } from 'node:util'
import { runProgram } from '../../src/guest-image/debian/program.ts'
import { fileInImage, ImageToolsMissing, kernelCommands, makeBootableImage } from './bootable-image.ts'
import { MAIN, qemuTools, scratchFolder, toolsMissing } from './device-program.ts'
import { qemuMissing } from './guest.ts'

const folder = scratchFolder()
const skip = qemuMissing ?? toolsMissing ?? false
const run = promisify(execFile)

async function outboard(...args: readonly string[]): Promise<{ stdout: string; stderr: string }> {
  const common = ['--engine', 'qemu', '--display', 'none', '--net', 'none', '--timeout', '300']
  return await run(process.execPath, [MAIN, 'run', ...common, ...args])
}

/** Makes a bootable image. @returns undefined if the test is skipped because tools are missing */
async function bootableImage(context: TestContext, name: string, commands?: string): Promise<string | undefined> {
  const file = path.join(folder, name)
  try {
    await makeBootableImage(file, 'proof=from-disk', commands)
    return file
  } catch (error) {
    if (!(error instanceof ImageToolsMissing)) throw error
    context.skip(error.message)
    return undefined
  }
}

test('a qcow2 image of a whole disk boots by its own boot loader, and keeps the writes of its guest', {
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
    ...['--boot', 'disk', '--firmware', 'bios', '--disk', image, '--disk', other],
    ...['--exec', `cat /proc/cmdline && ${write} && cat /sys/block/vdb/size`],
  )
  assert.match(stdout, /^BOOT_IMAGE=\S+\/boot\/kernel .*proof=from-disk\n2048\n$/, stderr)
  assert.match(stderr, /SeaBIOS.*GRUB: booting from the disk/s)
  assert.match(await runProgram(img, ['check', '-f', 'qcow2', image]), /No errors/)
  await runProgram(img, ['convert', '-f', 'qcow2', '-O', 'raw', image, raw])
  assert.match(fileInImage(raw, '/left-behind'), /^BOOT_IMAGE=.*proof=from-disk\n$/)
})

test('--firmware uefi has its console in the terminal, until the guest writes to its virtio console', {
  skip,
}, async (t) => {
  const ask = "echo -n 'Your name: '\nread name\necho\necho Welcome, $name.\n"
  const image = await bootableImage(t, 'uefi.img', `${ask}${kernelCommands('')}`)
  if (image === undefined) return
  const common = ['--engine', 'qemu', '--display', 'none', '--net', 'none', '--timeout', '300']
  const child = spawn(process.execPath, [
    MAIN,
    'run',
    ...common,
    '--firmware',
    'uefi',
    '--boot',
    'disk',
    '--disk',
    image,
  ])
  const ended = once(child, 'exit')
  let [output, log] = ['', '']
  // Prompts in order, and the input for each.
  const typed: [RegExp, string][] = [
    [/Your name: $/, 'out'],
    [/Your name: out$/, 'board\r'],
    [/Welcome, outboard\..*~ # $/s, 'cat /sys/firmware/efi/fw_platform_size && poweroff\r'],
  ]
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    log += text
  })
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text
    if (typed[0]?.[0].test(stripVTControlCharacters(output))) child.stdin.write(typed.shift()?.[1] ?? '')
  })
  assert.deepEqual(await ended, [0, null], `${output}\n${log}`)
  assert.match(output, /BdsDxe: starting .*\n64\r?\n/s)
  assert.doesNotMatch(log, /BdsDxe/)
})

test('--firmware is refused with options that exclude it', { skip }, async () => {
  for (const [args, message] of [
    [['--firmware', 'uefi'], /--firmware needs --engine qemu/],
    [['--engine', 'qemu', '--firmware', path.join(folder, 'none.fd')], /cannot read the firmware .*none\.fd/],
  ] as const) {
    const refused = run(process.execPath, [
      MAIN,
      'run',
      '--display',
      'none',
      '--exec',
      'true',
      '--net',
      'none',
      ...args,
    ])
    await assert.rejects(refused, ({ code, stderr }) => code === 2 && message.test(stderr))
  }
})

test('the format of a disk is detected by its file name, and refused if it is not supported', { skip }, async () => {
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
