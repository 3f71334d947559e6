import assert from 'node:assert/strict'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, afterEach, test } from 'node:test'
import { I386_IMAGE } from '../catalogue/guest-images.ts'
import { findGuestImage, GuestImageError, prepareGuestImage } from './guest-image.ts'
import { recipeId } from './recipe.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'outboard-guest-image-'))
after(() => rmSync(folder, { recursive: true }))
const { PATH, XDG_CACHE_HOME } = process.env
afterEach(() => {
  process.env['PATH'] = PATH
  if (XDG_CACHE_HOME === undefined) delete process.env['XDG_CACHE_HOME']
  else process.env['XDG_CACHE_HOME'] = XDG_CACHE_HOME
})

function emptyCache(): string {
  const cache = mkdtempSync(path.join(folder, 'cache-'))
  process.env['XDG_CACHE_HOME'] = cache
  return path.join(cache, 'outboard')
}

/** Makes a complete image of small files. */
function writeImage(image: string): void {
  mkdirSync(image, { recursive: true })
  const names = ['kernel', 'initrd', 'bios.bin', 'vgabios-stdvga.bin']
  for (const name of names) writeFileSync(path.join(image, name), name)
  const sizes = Object.fromEntries(names.map((name) => [name, name.length]))
  writeFileSync(path.join(image, 'image.json'), JSON.stringify({ sizes }))
}

test('a complete image is found, and is not made again', async () => {
  const image = path.join(emptyCache(), `guest-image-${recipeId(I386_IMAGE)}`)
  assert.equal(findGuestImage(I386_IMAGE), undefined)
  writeImage(image)
  const expected = {
    kernel: path.join(image, 'kernel'),
    initrd: path.join(image, 'initrd'),
    bios: path.join(image, 'bios.bin'),
    vgaBios: path.join(image, 'vgabios-stdvga.bin'),
    commandLine: I386_IMAGE.commandLine,
  }
  assert.deepEqual(findGuestImage(I386_IMAGE), expected)
  process.env['PATH'] = ''
  assert.deepEqual(await prepareGuestImage(I386_IMAGE, { onProgress: () => assert.fail() }), expected)
})

test('an image with a missing or truncated file is not found', () => {
  const image = path.join(emptyCache(), `guest-image-${recipeId(I386_IMAGE)}`)
  writeImage(image)
  truncateSync(path.join(image, 'initrd'), 3)
  assert.equal(findGuestImage(I386_IMAGE), undefined)
  writeImage(image)
  rmSync(path.join(image, 'bios.bin'))
  assert.equal(findGuestImage(I386_IMAGE), undefined)
})

test('an image of another recipe is not found, and every change of a script is another recipe', () => {
  const cache = emptyCache()
  const other = recipeId(I386_IMAGE, ['#!/bin/sh\n# another first process\n'])
  assert.notEqual(other, recipeId(I386_IMAGE))
  writeImage(path.join(cache, `guest-image-${other}`))
  assert.equal(findGuestImage(I386_IMAGE), undefined)
})

test('without apt, the error is one line with a remedy', async () => {
  emptyCache()
  process.env['PATH'] = ''
  await assert.rejects(prepareGuestImage(I386_IMAGE), (error) => {
    assert.ok(error instanceof GuestImageError)
    assert.match(error.message, /apt-get is not installed.*install apt.*--kernel and --initrd/)
    assert.ok(!error.message.includes('\n'))
    return true
  })
})

test('preparing an image can be aborted at any time, and leaves no incomplete image', async () => {
  const cache = emptyCache()
  await assert.rejects(prepareGuestImage(I386_IMAGE, { signal: AbortSignal.abort(new Error('not now')) }), /not now/)
  const controller = new AbortController()
  const onProgress = (): void => controller.abort(new Error('no more'))
  await assert.rejects(prepareGuestImage(I386_IMAGE, { signal: controller.signal, onProgress }), /no more/)
  assert.deepEqual(
    readdirSync(cache).filter((name) => name !== 'apt'),
    [],
  )
})

test('the real image contains a kernel for i386, the drivers and the firmware', async (context) => {
  const image = await prepareGuestImage(I386_IMAGE).catch((error: unknown) => {
    if (!(error instanceof GuestImageError)) throw error
    context.skip(error.message)
  })
  if (!image) return
  assert.deepEqual(findGuestImage(I386_IMAGE), image)
  const kernel = readFileSync(image.kernel)
  const version = kernel.subarray(0x200 + kernel.readUInt16LE(0x20e)).toString('latin1', 0, 80)
  assert.match(version, /^6\.\d+\.\d+-\d+-686 /)
  assert.ok(kernel.readUInt32LE(0x1f4) * 16 > 24 << 20, 'the kernel is not compressed')
  const initrd = readFileSync(image.initrd)
  for (const driver of ['pci', 'blk', 'console', 'rng', 'gpu', 'input'])
    assert.ok(initrd.includes(`/virtio_${driver}.ko\0`), driver)
  for (const file of ['init', 'sbin/command-agent', 'bin/busybox', 'usr/bin/fallocate'])
    assert.ok(initrd.includes(`${file}\0`), file)
  assert.ok(!initrd.includes('~Module signature appended~'))
  assert.equal(statSync(image.bios).size % 65536, 0)
  assert.equal(readFileSync(image.vgaBios).readUInt16LE(0), 0xaa55)
})
