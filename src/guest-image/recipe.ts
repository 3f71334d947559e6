import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { extname } from 'node:path'
import { COMMAND_AGENT_SCRIPT } from './command-agent.ts'
import { HOTPLUG_SCRIPT } from './hotplug-script.ts'
import { INIT_SCRIPT } from './init-script.ts'
import { DHCP_SCRIPT } from './network-script.ts'

/** Content of a guest image. `Firmware`: names of the included firmware files. */
export interface Recipe<Firmware extends string = string> {
  /** Debian release of all packages. */
  readonly suite: string
  readonly architecture: 'i386' | 'amd64'
  /** Metapackage that depends on the newest kernel. */
  readonly kernelMetaPackage: string
  /** True to decompress the kernel here, which would take an emulated processor seconds; see `repackKernel`. */
  readonly repacksKernel: boolean
  /** Packages other than the kernel's, and the guest paths of their files. */
  readonly packages: Readonly<Record<string, Readonly<Record<string, string>>>>
  /** Folder of the kernel modules, by release, in the kernel's package. */
  readonly modulesFolder: string
  /** Kernel modules; those that they depend on are included, those that the kernel has built in are left out. */
  readonly modules: readonly string[]
  /** Firmware of the machine, by its path in a package. It is not part of the guest's file system. */
  readonly firmware: Readonly<Record<Firmware, string>>
  readonly commandLine: string
}

/** Modules besides the drivers of devices: the file system of disks. */
const FILE_SYSTEM = ['ext4', 'crc32c_generic']

/**
 * Kernel arguments of all images.
 *
 * `console`: messages are written to the screen and to the first serial port, where the engine reads them; the last one
 * is the output of the first process. `loglevel`: only panics, until the first process enables errors too. After a
 * panic the guest halts, which is the kernel's default, so that its screen can be read; the engine ends it.
 *
 * All other arguments save work of the emulated processor: timer and clock calibration, mitigations, self-tests, grace
 * periods, ports. Blacklisting `load_system_certificate_list` skips parsing the key for module signatures. `nokaslr`: a
 * repacked kernel is linked for one address.
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
  // The kernel without PAE.
  kernelMetaPackage: 'linux-image-686',
  repacksKernel: true,
  packages: {
    // The guest's commands.
    'busybox-static': { 'bin/busybox': 'bin/busybox' },
    // Its `fallocate` can zero and punch holes; busybox's cannot, and the shell prefers it unless the path is given.
    'util-linux': { 'usr/bin/fallocate': 'usr/bin/fallocate' },
    // Needed by `fallocate`, and by other programs of the release on the user's disks.
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

/** Source files that determine the content of an image. */
const BUILDER = [
  'cpio',
  'elf',
  'initramfs',
  'kernel-image',
  'kernel-modules',
  'recipe',
  'reseed-program',
  'x86-branches',
  'xz',
]

/** Returns the short id of an image. Another version of this project has another id. */
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
