import { execFileSync } from 'node:child_process'
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import path from 'node:path'
import { AMD64_IMAGE } from '../../src/catalogue/guest-images.ts'
import { AptError } from '../../src/guest-image/debian/apt-error.ts'
import { runTool, ToolError } from '../../src/guest-image/debian/tool.ts'
import { unpackedPackages } from '../../src/guest-image/debian/unpacked-packages.ts'
import { findGuestImage } from '../../src/guest-image/guest-image.ts'

const MIB = 1 << 20
const SECTOR_BYTES = 512
const IMAGE_BYTES = 96 * MIB
/** Start of the file system. The boot loader for BIOS precedes it; that for UEFI is in a partition after it. */
const PARTITION_BYTES = MIB
const EFI_PARTITION_BYTES = 92 * MIB
const PARTITION_TABLE = 446
const LINUX_PARTITION = 0x83
const EFI_PARTITION = 0xef

/** Packages of boot loaders, and of tools that make images of them. */
const PACKAGES = {
  kind: 'boot-loaders',
  suite: AMD64_IMAGE.suite,
  packages: ['grub-pc-bin', 'grub-efi-amd64-bin', 'grub-common', 'mtools', 'ipxe'],
  withDependencies: true,
}
const MODULES = ['part_msdos', 'ext2', 'normal', 'linux', 'boot', 'serial', 'echo', 'test', 'read']

/** Firmwares that start GRUB from a disk or from the network, with GRUB's modules for each. */
const PLATFORMS = {
  'i386-pc': [...MODULES, 'biosdisk', 'linux16'],
  'x86_64-efi': MODULES,
  'i386-pc-pxe': [...MODULES, 'biosdisk', 'pxe', 'tftp'],
  'x86_64-efi-net': [...MODULES, 'efinet', 'tftp', 'fat', 'chain'],
} as const

/** e2fsprogs are in sbin, which is not in the PATH of every user. */
const ENV = { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin:/sbin` }

/** A bootable image cannot be made: the reason to skip a test. */
export class ImageToolsMissing extends Error {
  override readonly name = 'ImageToolsMissing'
}

/**
 * Makes a raw disk image like that of an installation: GRUB for BIOS and for UEFI, and the guest image's kernel and
 * ramdisk in a file system in a partition. The kernel gets `commandLine` besides the image's.
 * @param configuration GRUB's commands. @default those that boot the kernel
 * @throws {ImageToolsMissing} with what to install
 */
export async function makeBootableImage(file: string, commandLine: string, configuration?: string): Promise<void> {
  const image = findGuestImage(AMD64_IMAGE)
  if (!image) throw new ImageToolsMissing('there is no guest image for QEMU')
  const loaders = await BootLoaders.prepare()
  const work = mkdtempSync(`${file}.work-`)
  try {
    const boot = path.join(work, 'root/boot')
    mkdirSync(path.join(boot, 'grub'), { recursive: true })
    writeFileSync(path.join(boot, 'kernel'), readFileSync(image.kernel))
    writeFileSync(path.join(boot, 'initrd'), readFileSync(image.initrd))
    writeFileSync(path.join(boot, 'ipxe.lkrn'), loaders.ipxe)
    const commands = configuration ?? `echo 'GRUB: booting from the disk'\n${kernelCommands(commandLine)}`
    writeFileSync(path.join(boot, 'grub/grub.cfg'), `${SERIAL_CONSOLE}${commands}`)
    writeFileSync(file, '')
    truncateSync(file, IMAGE_BYTES)
    makeFileSystem(file, path.join(work, 'root'))
    const prefix = '(hd0,msdos1)/boot/grub'
    writeBootLoader(file, loaders.bootSector, await loaders.makeCore('i386-pc', prefix, work))
    await loaders.makeEfiPartition(file, await loaders.makeCore('x86_64-efi', prefix, work), work)
  } finally {
    rmSync(work, { recursive: true })
  }
}

/**
 * Makes GRUB for a start from the network: it executes the commands in `grub.cfg` of the server.
 * @throws {ImageToolsMissing} with what to install
 */
export async function makeNetworkLoader(firmware: 'bios' | 'uefi', work: string): Promise<Uint8Array> {
  const loaders = await BootLoaders.prepare()
  return await loaders.makeCore(firmware === 'bios' ? 'i386-pc-pxe' : 'x86_64-efi-net', '(tftp)/', work)
}

/** GRUB commands at the start of every configuration. */
export const SERIAL_CONSOLE = 'serial --unit=0\nterminal_output serial\n'

/** GRUB commands that boot the kernel in the disk's file system. */
export function kernelCommands(commandLine: string): string {
  const image = findGuestImage(AMD64_IMAGE)
  const root = '(hd0,msdos1)/boot'
  return `linux ${root}/kernel ${image?.commandLine} ${commandLine}\ninitrd ${root}/initrd\nboot\n`
}

/** Reads a file of the image's file system. */
export function fileInImage(image: string, name: string): string {
  const file = `${image}?offset=${PARTITION_BYTES}`
  return execFileSync('debugfs', ['-R', `cat ${name}`, file], {
    env: ENV,
    stdio: ['ignore', 'pipe', 'ignore'],
  }).toString()
}

function makeFileSystem(file: string, root: string): void {
  const blocks = `${(EFI_PARTITION_BYTES - PARTITION_BYTES) / 1024}k`
  const options = ['-q', '-t', 'ext2', '-E', `offset=${PARTITION_BYTES}`, '-d', root]
  try {
    execFileSync('mke2fs', [...options, file, blocks], { env: ENV, stdio: 'pipe' })
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error
    throw new ImageToolsMissing('the file system is made with mke2fs: apt-get install e2fsprogs')
  }
}

/** Writes the first sector, which loads the sectors up to the first partition. */
function writeBootLoader(file: string, sector: Uint8Array, core: Uint8Array): void {
  const start = Buffer.alloc(SECTOR_BYTES + core.length)
  start.set(sector)
  // Four entries; two are empty.
  start.fill(0, PARTITION_TABLE, PARTITION_TABLE + 64)
  writePartition(start.subarray(PARTITION_TABLE), LINUX_PARTITION, PARTITION_BYTES, EFI_PARTITION_BYTES)
  writePartition(start.subarray(PARTITION_TABLE + 16), EFI_PARTITION, EFI_PARTITION_BYTES, IMAGE_BYTES)
  start[PARTITION_TABLE] = 0x80
  start.set(core, SECTOR_BYTES)
  const image = openSync(file, 'r+')
  writeSync(image, start, 0, start.length, 0)
  closeSync(image)
}

function writePartition(entry: Buffer, type: number, start: number, end: number): void {
  entry[4] = type
  entry.writeUInt32LE(start / SECTOR_BYTES, 8)
  entry.writeUInt32LE((end - start) / SECTOR_BYTES, 12)
}

/** Boot loaders of Debian, unpacked in the cache. */
class BootLoaders {
  private constructor(private readonly root: string) {}

  static async prepare(): Promise<BootLoaders> {
    if (process.arch !== 'x64') throw new ImageToolsMissing(`GRUB for PCs is made on a PC, not on ${process.arch}`)
    try {
      return new BootLoaders(await unpackedPackages(PACKAGES))
    } catch (error) {
      if (error instanceof AptError)
        throw new ImageToolsMissing(`GRUB cannot be fetched: ${error.what}; ${error.remedy}`)
      if (error instanceof ToolError) throw new ImageToolsMissing(`GRUB cannot be fetched: ${error.message}`)
      throw error
    }
  }

  get bootSector(): Uint8Array {
    return readFileSync(path.join(this.root, 'usr/lib/grub/i386-pc/boot.img'))
  }

  get ipxe(): Uint8Array {
    return readFileSync(path.join(this.root, 'usr/lib/ipxe/ipxe.lkrn'))
  }

  async makeCore(platform: keyof typeof PLATFORMS, prefix: string, work: string): Promise<Uint8Array> {
    const file = path.join(work, `${platform}.img`)
    const modules = path.join(this.root, 'usr/lib/grub', platform.startsWith('i386') ? 'i386-pc' : 'x86_64-efi')
    const format = platform.replace(/-net$/, '')
    await this.#run('grub-mkimage', ['-d', modules, '-O', format, '-p', prefix, '-o', file, ...PLATFORMS[platform]])
    return readFileSync(file)
  }

  /** Makes the partition from which UEFI starts a loader without configuration. */
  async makeEfiPartition(image: string, core: Uint8Array, work: string): Promise<void> {
    const file = path.join(work, 'loader.efi')
    writeFileSync(file, core)
    const partition = `${image}@@${EFI_PARTITION_BYTES}`
    const sectors = (IMAGE_BYTES - EFI_PARTITION_BYTES) / SECTOR_BYTES
    await this.#run('mformat', ['-i', partition, '-T', `${sectors}`, '::'])
    await this.#run('mmd', ['-i', partition, '::/EFI', '::/EFI/BOOT'])
    await this.#run('mcopy', ['-i', partition, file, '::/EFI/BOOT/BOOTX64.EFI'])
  }

  /** Runs a program of the packages with the libraries that it was built for. */
  async #run(name: string, args: readonly string[]): Promise<void> {
    const libraries = ['usr/lib/x86_64-linux-gnu', 'lib/x86_64-linux-gnu'].map((folder) => path.join(this.root, folder))
    const loader = libraries.map((folder) => path.join(folder, 'ld-linux-x86-64.so.2')).find(existsSync) ?? ''
    const program = path.join(this.root, 'usr/bin', name)
    await runTool(loader, ['--argv0', name, '--library-path', libraries.join(':'), program, ...args], {
      signal: undefined,
    })
  }
}
