import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { AptError } from '../../src/engines/debian/apt-error.ts'
import { keptFolderPath, makeKeptFolder, openApt } from '../../src/engines/debian/kept-folder.ts'
import { runTool, ToolError } from '../../src/engines/debian/tool.ts'
import { findKit } from '../../src/engines/kit/kit.ts'
import { AMD64_KIT } from '../../src/engines/kit/recipe.ts'

const MIB = 1 << 20
const SECTOR_BYTES = 512
const IMAGE_BYTES = 96 * MIB
/** Where the file system begins; the boot loader lies before it. */
const PARTITION_BYTES = MIB
const PARTITION_TABLE = 446
const LINUX_PARTITION = 0x83

/** The boot loader of most distributions, and what makes an image of it. */
const PACKAGES = ['grub-pc-bin', 'grub-common']
const MODULES = ['biosdisk', 'part_msdos', 'ext2', 'normal', 'linux', 'boot', 'serial', 'echo']
const STAMP = 'complete'
const KEPT = {
  kind: 'grub',
  id: createHash('sha256')
    .update(JSON.stringify([AMD64_KIT.suite, PACKAGES]))
    .digest('hex')
    .slice(0, 12),
}

/** e2fsprogs live in sbin, which is not in everybody's PATH. */
const ENV = { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin:/sbin` }

/** Why a bootable image cannot be made here, for a test that skips. */
export class ImageToolsMissing extends Error {
  override readonly name = 'ImageToolsMissing'
}

/**
 * Makes a raw disk image as an installation leaves it: GRUB, and the guest kit's kernel and ramdisk in a file system in a partition.
 * The kernel gets `commandLine` besides the kit's.
 * @throws {ImageToolsMissing} with what to install
 */
export async function makeBootableImage(file: string, commandLine: string): Promise<void> {
  const kit = findKit(AMD64_KIT)
  if (!kit) throw new ImageToolsMissing('there is no guest kit for QEMU')
  const grub = await prepareGrub()
  const work = mkdtempSync(`${file}.work-`)
  try {
    const boot = path.join(work, 'root/boot')
    mkdirSync(path.join(boot, 'grub'), { recursive: true })
    writeFileSync(path.join(boot, 'kernel'), readFileSync(kit.kernel))
    writeFileSync(path.join(boot, 'initrd'), readFileSync(kit.initrd))
    writeFileSync(path.join(boot, 'grub/grub.cfg'), configuration(`${kit.commandLine} ${commandLine}`))
    writeFileSync(file, '')
    truncateSync(file, IMAGE_BYTES)
    makeFileSystem(file, path.join(work, 'root'))
    const core = await makeCore(grub, path.join(work, 'core.img'))
    writeBootLoader(file, readFileSync(path.join(modulesOf(grub), 'boot.img')), core)
  } finally {
    rmSync(work, { recursive: true })
  }
}

/** Reads a file of the image's file system. */
export function fileInImage(image: string, name: string): string {
  const file = `${image}?offset=${PARTITION_BYTES}`
  return execFileSync('debugfs', ['-R', `cat ${name}`, file], {
    env: ENV,
    stdio: ['ignore', 'pipe', 'ignore'],
  }).toString()
}

function configuration(commandLine: string): string {
  return `serial --unit=0
terminal_output serial
echo 'GRUB: booting from the disk'
linux /boot/kernel ${commandLine}
initrd /boot/initrd
boot
`
}

function makeFileSystem(file: string, root: string): void {
  const blocks = `${(IMAGE_BYTES - PARTITION_BYTES) / 1024}k`
  const options = ['-q', '-t', 'ext2', '-E', `offset=${PARTITION_BYTES}`, '-d', root]
  try {
    execFileSync('mke2fs', [...options, file, blocks], { env: ENV, stdio: 'pipe' })
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error
    throw new ImageToolsMissing('the file system is made with mke2fs: apt-get install e2fsprogs')
  }
}

/** The first sector loads what follows it, up to the partition. */
function writeBootLoader(file: string, boot: Uint8Array, core: Uint8Array): void {
  const image = readFileSync(file)
  image.set(boot)
  // Four entries, of which three are empty.
  const table = Buffer.alloc(64)
  table[0] = 0x80
  table[4] = LINUX_PARTITION
  table.writeUInt32LE(PARTITION_BYTES / SECTOR_BYTES, 8)
  table.writeUInt32LE((IMAGE_BYTES - PARTITION_BYTES) / SECTOR_BYTES, 12)
  image.set(table, PARTITION_TABLE)
  image.set(core, SECTOR_BYTES)
  writeFileSync(file, image)
}

async function makeCore(grub: string, file: string): Promise<Uint8Array> {
  const libraries = ['usr/lib/x86_64-linux-gnu', 'lib/x86_64-linux-gnu'].map((folder) => path.join(grub, folder))
  const loader = libraries.map((folder) => path.join(folder, 'ld-linux-x86-64.so.2')).find(existsSync) ?? ''
  const make = [...['--library-path', libraries.join(':')], path.join(grub, 'usr/bin/grub-mkimage')]
  const what = ['-d', modulesOf(grub), '-O', 'i386-pc', '-p', '(hd0,msdos1)/boot/grub', '-o', file]
  await runTool(loader, [...make, ...what, ...MODULES], { signal: undefined })
  return readFileSync(file)
}

function modulesOf(grub: string): string {
  return path.join(grub, 'usr/lib/grub/i386-pc')
}

/** Fetches GRUB, and all it needs, where it is not in the cache yet. Nothing is installed. */
async function prepareGrub(): Promise<string> {
  if (process.arch !== 'x64') throw new ImageToolsMissing(`GRUB for PCs is made on a PC, not on ${process.arch}`)
  const folder = keptFolderPath(KEPT)
  try {
    await makeKeptFolder(KEPT, {
      signal: undefined,
      onWait: () => {},
      isComplete: () => existsSync(path.join(folder, STAMP)),
      make: unpackGrub,
    })
  } catch (error) {
    if (error instanceof AptError) throw new ImageToolsMissing(`GRUB cannot be fetched: ${error.what}; ${error.remedy}`)
    if (error instanceof ToolError) throw new ImageToolsMissing(`GRUB cannot be fetched: ${error.message}`)
    throw error
  }
  return folder
}

async function unpackGrub(work: string): Promise<string> {
  const apt = await openApt(AMD64_KIT.suite, AMD64_KIT.architecture, undefined)
  await apt.update(() => {})
  const packages = await apt.fetch(await apt.withDependencies(PACKAGES), () => {})
  const root = path.join(work, 'root')
  for (const file of packages.values()) await runTool('dpkg-deb', ['-x', file, root], { signal: undefined })
  writeFileSync(path.join(root, STAMP), '')
  return root
}
