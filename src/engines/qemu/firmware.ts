import { existsSync } from 'node:fs'
import path from 'node:path'
import { AptError } from '../../guest-image/debian/apt-error.ts'
import { QemuError } from '../../guest-image/debian/qemu-error.ts'
import { type UnpackOptions, unpackedPackages } from '../../guest-image/debian/unpacked-packages.ts'
import { AMD64_RECIPE } from '../../guest-image/recipe.ts'

/** Code and variables in one image, from the package `ovmf`. Changes of the variables are discarded with the guest. */
const IMAGE = 'usr/share/ovmf/OVMF.fd'

/**
 * Returns the file of a UEFI firmware for QEMU: the installed one, or else Debian's, which is fetched if necessary.
 * @throws {QemuError} if it cannot be fetched
 */
export async function prepareUefi(options: UnpackOptions = {}): Promise<string> {
  const installed = path.join('/', IMAGE)
  if (existsSync(installed)) return installed
  try {
    const set = { kind: 'ovmf', suite: AMD64_RECIPE.suite, packages: ['ovmf'], withDependencies: false }
    return path.join(await unpackedPackages(set, options), IMAGE)
  } catch (error) {
    const fix = 'fix: install ovmf, or name an image with --firmware FILE'
    if (error instanceof AptError) throw new QemuError(`cannot fetch OVMF: ${error.what}; ${error.remedy}; ${fix}`)
    throw error
  }
}
