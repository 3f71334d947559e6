import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { extname } from 'node:path'
import { COMMAND_AGENT_SCRIPT } from './command-agent.ts'
import { HOTPLUG_SCRIPT } from './hotplug-script.ts'
import { INIT_SCRIPT } from './init-script.ts'
import { DHCP_SCRIPT } from './network-script.ts'

/** What a guest image is made of. `Firmware`: names of firmware that comes with it. */
export interface Recipe<Firmware extends string = string> {
  /** The Debian release everything is taken from. */
  readonly suite: string
  readonly architecture: 'i386' | 'amd64'
  /** Depends on the package of the newest kernel. */
  readonly kernelMetaPackage: string
  /** Unpacked here, since an emulated processor takes seconds to do so; see `repackKernel`. */
  readonly repacksKernel: boolean
  /** Packages beside the kernel's, and which files of them go where in the guest. */
  readonly packages: Readonly<Record<string, Readonly<Record<string, string>>>>
  /** The folder of kernel modules, by release, in the kernel's package. */
  readonly modulesFolder: string
  /** Kernel modules; those that they depend on are included, those that the kernel has built in are left out. */
  readonly modules: readonly string[]
  /** Not for the guest's file system: what the machine starts with, by its place in a package. */
  readonly firmware: Readonly<Record<Firmware, string>>
  readonly commandLine: string
}

/** Modules besides the drivers of devices: the file system of disks. */
const FILE_SYSTEM = ['ext4', 'crc32c_generic']

/**
 * The kernel's arguments everywhere.
 *
 * `console`: messages go to the screen and to the first serial port, where the engine reads them; the last one named is
 * what the first process has as its output. `loglevel`: panics and worse, until the first process lets errors through too.
 * After a panic the guest stands still, which is the kernel's default, so that its screen can be read; the engine ends it.
 *
 * All others save the emulated processor work that says nothing here: timer and clock calibration, mitigations,
 * self-tests, waiting for grace periods, ports. Without `load_system_certificate_list` the key that modules could be
 * checked with is not parsed. `nokaslr`: a repacked kernel is linked for one address; nothing else is lost by it.
 */
const ARGUMENTS = [
  'console=tty0 console=ttyS0 loglevel=3',
  'nokaslr tsc=reliable no_timer_check mitigations=off random.trust_cpu=on',
  'cryptomgr.notests 8250.nr_uarts=1 rcupdate.rcu_expedited=1',
  'initcall_blacklist=load_system_certificate_list',
].join(' ')

/** Image for v86, a machine with one 32-bit processor and ISA slots; without drivers. @see withDrivers */
export const I386_RECIPE: Recipe<'bios' | 'vgaBios'> = {
  // The last one with a kernel for these machines.
  suite: 'bookworm',
  architecture: 'i386',
  // Without PAE.
  kernelMetaPackage: 'linux-image-686',
  repacksKernel: true,
  packages: {
    // The guest's commands.
    'busybox-static': { 'bin/busybox': 'bin/busybox' },
    // Its `fallocate` zeroes and punches holes; that of busybox, which the shell prefers unless told the path, does not.
    'util-linux': { 'usr/bin/fallocate': 'usr/bin/fallocate' },
    // What `fallocate` needs, and other programs of the release that somebody brings on a disk.
    libc6: {
      'lib/i386-linux-gnu/libc.so.6': 'lib/i386-linux-gnu/libc.so.6',
      'lib/i386-linux-gnu/ld-linux.so.2': 'lib/ld-linux.so.2',
    },
    seabios: {},
  },
  modulesFolder: 'lib/modules',
  modules: ['virtio_pci', ...FILE_SYSTEM],
  firmware: { bios: 'usr/share/seabios/bios.bin', vgaBios: 'usr/share/seabios/vgabios-stdvga.bin' },
  commandLine: `${ARGUMENTS} noisapnp`,
}

/** Image for QEMU, which brings its own firmware; without drivers but those that the kernel has built in. @see withDrivers */
export const AMD64_RECIPE: Recipe<never> = {
  suite: 'trixie',
  architecture: 'amd64',
  kernelMetaPackage: 'linux-image-amd64',
  repacksKernel: false,
  packages: {
    'busybox-static': { 'usr/bin/busybox': 'bin/busybox' },
    'util-linux': { 'usr/bin/fallocate': 'usr/bin/fallocate' },
    libc6: {
      'usr/lib/x86_64-linux-gnu/libc.so.6': 'lib/x86_64-linux-gnu/libc.so.6',
      'usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2': 'lib64/ld-linux-x86-64.so.2',
    },
  },
  modulesFolder: 'usr/lib/modules',
  modules: FILE_SYSTEM,
  firmware: {},
  commandLine: ARGUMENTS,
}

/** The files whose code decides what an image is. */
const BUILDER = ['cpio', 'elf', 'initramfs', 'kernel-image', 'kernel-modules', 'recipe', 'x86-branches', 'xz']

/** Short name of an image made by this version: another version makes another image. */
export function recipeId(
  recipe: Recipe,
  scripts: readonly string[] = [INIT_SCRIPT, COMMAND_AGENT_SCRIPT, HOTPLUG_SCRIPT, DHCP_SCRIPT],
): string {
  const hash = createHash('sha256').update(JSON.stringify([recipe, scripts]))
  for (const name of BUILDER) {
    hash.update(readFileSync(new URL(`./${name}${extname(import.meta.url)}`, import.meta.url)))
  }
  return hash.digest('hex').slice(0, 12)
}
