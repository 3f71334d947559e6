import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { extname } from 'node:path'
import { COMMAND_AGENT_SCRIPT } from './command-agent.ts'
import { HOTPLUG_SCRIPT } from './hotplug-script.ts'
import { INIT_SCRIPT } from './init-script.ts'

/** The Debian release everything is taken from: the last one with a kernel for 32-bit machines. */
export const SUITE = 'bookworm'

/** Names the package of the newest kernel for machines without PAE. */
export const KERNEL_META_PACKAGE = 'linux-image-686'

/** Packages beside the kernel's, and which files of them go where in the guest. */
export const PACKAGES = {
  /** The guest's commands. */
  'busybox-static': { 'bin/busybox': 'bin/busybox' },
  /** Its `fallocate` zeroes and punches holes; that of busybox, which the shell prefers unless told the path, does not. */
  'util-linux': { 'usr/bin/fallocate': 'usr/bin/fallocate' },
  /** What `fallocate` needs, and other programs of the release that somebody brings on a disk. */
  libc6: {
    'lib/i386-linux-gnu/libc.so.6': 'lib/i386-linux-gnu/libc.so.6',
    'lib/i386-linux-gnu/ld-linux.so.2': 'lib/ld-linux.so.2',
  },
  /** Not for the guest's file system: the firmware it starts with. */
  seabios: {},
} as const satisfies Record<string, Record<string, string>>

/** Firmware, by its place in the package `seabios`. */
export const FIRMWARE = { bios: 'usr/share/seabios/bios.bin', vgaBios: 'usr/share/seabios/vgabios-stdvga.bin' } as const

/** Kernel modules; what they depend on comes with them. Only drivers of devices that are there are loaded. */
export const MODULES = [
  'virtio_pci',
  'virtio_blk',
  'virtio_console',
  'virtio_rng',
  'virtio_gpu',
  'virtio_input',
  'evdev',
  'ext4',
  'crc32c_generic',
] as const

/**
 * The kernel's arguments.
 *
 * `console`: messages go to the screen and to the first serial port, where the engine reads them; the last one named is
 * what the first process has as its output. `loglevel`: panics and worse, until the first process lets errors through too.
 * After a panic the guest stands still, which is the kernel's default, so that its screen can be read; the engine ends it.
 *
 * `nokaslr`: the kernel is linked for one address, see `repackKernel`. All others save the emulated processor work that
 * says nothing here: timer and clock calibration, mitigations, self-tests, waiting for grace periods, ports, ISA cards.
 * Without `load_system_certificate_list` the key that modules could be checked with is not parsed.
 */
export const COMMAND_LINE = [
  'console=tty0 console=ttyS0 loglevel=3',
  'nokaslr tsc=reliable no_timer_check mitigations=off random.trust_cpu=on',
  'cryptomgr.notests noisapnp 8250.nr_uarts=1 rcupdate.rcu_expedited=1',
  'initcall_blacklist=load_system_certificate_list',
].join(' ')

/** The files whose code decides what a kit is. */
const BUILDER = ['cpio', 'elf', 'initramfs', 'kernel-image', 'kernel-modules', 'recipe', 'x86-branches', 'xz']

/** Short name of this recipe: another one, of another version of this project, makes another kit. */
export function recipeId(scripts: readonly string[] = [INIT_SCRIPT, COMMAND_AGENT_SCRIPT, HOTPLUG_SCRIPT]): string {
  const hash = createHash('sha256').update(JSON.stringify(scripts))
  for (const name of BUILDER) {
    hash.update(readFileSync(new URL(`./${name}${extname(import.meta.url)}`, import.meta.url)))
  }
  return hash.digest('hex').slice(0, 12)
}
