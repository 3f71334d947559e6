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
import { findKit, KitError, prepareKit } from './kit.ts'
import { I386_KIT, recipeId } from './recipe.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'outboard-kit-'))
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

/** A kit of small files, complete. */
function writeKit(kit: string): void {
  mkdirSync(kit, { recursive: true })
  const names = ['kernel', 'initrd', 'bios.bin', 'vgabios-stdvga.bin']
  for (const name of names) writeFileSync(path.join(kit, name), name)
  const sizes = Object.fromEntries(names.map((name) => [name, name.length]))
  writeFileSync(path.join(kit, 'kit.json'), JSON.stringify({ sizes }))
}

test('a kit that is complete is found, and prepared at once', async () => {
  const kit = path.join(emptyCache(), `kit-${recipeId(I386_KIT)}`)
  assert.equal(findKit(I386_KIT), undefined)
  writeKit(kit)
  const expected = {
    kernel: path.join(kit, 'kernel'),
    initrd: path.join(kit, 'initrd'),
    bios: path.join(kit, 'bios.bin'),
    vgaBios: path.join(kit, 'vgabios-stdvga.bin'),
    commandLine: I386_KIT.commandLine,
  }
  assert.deepEqual(findKit(I386_KIT), expected)
  process.env['PATH'] = ''
  assert.deepEqual(await prepareKit(I386_KIT, { onProgress: () => assert.fail() }), expected)
})

test('a kit with a file that is missing or cut off is none', () => {
  const kit = path.join(emptyCache(), `kit-${recipeId(I386_KIT)}`)
  writeKit(kit)
  truncateSync(path.join(kit, 'initrd'), 3)
  assert.equal(findKit(I386_KIT), undefined)
  writeKit(kit)
  rmSync(path.join(kit, 'bios.bin'))
  assert.equal(findKit(I386_KIT), undefined)
})

test('a kit of another recipe is none, and every change of a script is another recipe', () => {
  const cache = emptyCache()
  const other = recipeId(I386_KIT, ['#!/bin/sh\n# another first process\n'])
  assert.notEqual(other, recipeId(I386_KIT))
  writeKit(path.join(cache, `kit-${other}`))
  assert.equal(findKit(I386_KIT), undefined)
})

test('without apt there is one line that says how to do without', async () => {
  emptyCache()
  process.env['PATH'] = ''
  await assert.rejects(prepareKit(I386_KIT), (error) => {
    assert.ok(error instanceof KitError)
    assert.match(error.message, /apt-get is not on this machine.*install apt.*--kernel and --initrd/)
    assert.ok(!error.message.includes('\n'))
    return true
  })
})

test('it can be aborted before and while it works, and leaves no half a kit', async () => {
  const cache = emptyCache()
  await assert.rejects(prepareKit(I386_KIT, { signal: AbortSignal.abort(new Error('not now')) }), /not now/)
  const controller = new AbortController()
  const onProgress = (): void => controller.abort(new Error('no more'))
  await assert.rejects(prepareKit(I386_KIT, { signal: controller.signal, onProgress }), /no more/)
  assert.deepEqual(
    readdirSync(cache).filter((name) => name !== 'apt'),
    [],
  )
})

test('the real kit has a kernel for these machines, the drivers, and firmware', async (context) => {
  const kit = await prepareKit(I386_KIT).catch((error: unknown) => {
    if (!(error instanceof KitError)) throw error
    context.skip(error.message)
  })
  if (!kit) return
  assert.deepEqual(findKit(I386_KIT), kit)
  const kernel = readFileSync(kit.kernel)
  const version = kernel.subarray(0x200 + kernel.readUInt16LE(0x20e)).toString('latin1', 0, 80)
  assert.match(version, /^6\.\d+\.\d+-\d+-686 /)
  assert.ok(kernel.readUInt32LE(0x1f4) * 16 > 24 << 20, 'the kernel is not compressed')
  const initrd = readFileSync(kit.initrd)
  for (const driver of ['pci', 'blk', 'console', 'rng', 'gpu', 'input'])
    assert.ok(initrd.includes(`/virtio_${driver}.ko\0`), driver)
  for (const file of ['init', 'sbin/command-agent', 'bin/busybox', 'usr/bin/fallocate'])
    assert.ok(initrd.includes(`${file}\0`), file)
  assert.ok(!initrd.includes('~Module signature appended~'))
  assert.equal(statSync(kit.bios).size % 65536, 0)
  assert.equal(readFileSync(kit.vgaBios).readUInt16LE(0), 0xaa55)
})
